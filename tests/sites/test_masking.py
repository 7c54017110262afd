"""Which values of a document say where its secrets go."""

from __future__ import annotations

from typing import Any

import pytest

from sites.masking import HIDDEN, NotRestored, moved, restored

pytestmark = pytest.mark.once

ADDRESSES = [
    "host", "Host", "HOST", "hostName", "hostname", "host_name", "host2", "dbhost",
    "remote-host", "smtpServer", "servers", "nameserver", "url", "URLs", "server_url",
    "base-url", "baseUrl", "token_url", "webhookUri", "addr", "address", "IPAddress", "ip",
    "ip4", "ipv6", "gateway_ip", "port", "PORT", "proxy", "proxies", "endpoint",
    "authorization_endpoint", "domain", "fqdn", "target",
]  # fmt: skip
OTHERS = [
    "report", "reports", "export", "support", "transport", "passport", "import", "important",
    "script", "description", "recipe", "zip", "tip", "ghost", "curly", "reporter", "user",
    "folder", "level", "supported", "proxy_password", "serverToken",
]  # fmt: skip


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_word_of_a_name_says_that_it_is_an_address(name: str) -> None:
    for data in ({name: "b"}, {}, {name: None}, {name: ["a", "b"]}, {name: {"main": "a"}}):
        assert moved(data, {name: "a"}), data
        with pytest.raises(NotRestored, match="goes to no other one: write “key” out again"):
            restored({**data, "key": HIDDEN}, {name: "a", "key": "k"})
    assert restored({name: "a", "key": HIDDEN}, {name: "a", "key": "k"}) == {name: "a", "key": "k"}


@pytest.mark.parametrize("name", OTHERS)
def test_other_names_are_no_addresses(name: str) -> None:
    assert not moved({name: "b"}, {name: "a"})
    assert restored({"key": HIDDEN}, {name: "a", "key": "k"}) == {"key": "k"}


@pytest.mark.parametrize(
    ("data", "stored", "where"),
    [
        ({"a": {"b": [{"host": 2}]}}, {"a": {"b": [{"host": 1}]}}, "a.b.0.host"),
        ({"a": {"b": []}}, {"a": {"b": [{"host": 1}]}}, "a.b.0.host"),
        ({}, {"a": {"b": [{"host": 1}]}}, "a.b.0.host"),
        ({"servers": {"main": "b"}}, {"servers": {"main": "a"}}, "servers.main"),
        ({"servers": {"spare": "b"}}, {}, "servers.spare"),
        ({"server": {"user": "b"}}, {"server": {"user": "a"}}, ""),
        ({"server": {"password": "b"}}, {"server": {"password": "a"}}, ""),
        ({"to": "https://b"}, {"to": "https://a"}, "to"),
        ({"to": "198.51.100.66"}, {}, "to"),
        ({"to": "me@b:/srv"}, {"to": "me@a:/srv"}, "to"),
        ({"to": "//b/share"}, {"to": "//a/share"}, "to"),
        ({"host": "", "use_proxy": False}, {}, ""),
        # What is hidden is as it was, however deep it is.
        ({"token_url": HIDDEN}, {"token_url": "https://a"}, ""),
        ({"secret": HIDDEN}, {"secret": {"host": "a", "codes": ["https://a"]}}, ""),
    ],
)
def test_an_address_is_found_however_deep_it_lies(
    data: dict[str, Any], stored: dict[str, Any], where: str
) -> None:
    assert moved(data, stored) == where
