"""Which values of a free JSON document are secrets, and how it is shown and edited without them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

HIDDEN = "••••"
# The names and places that lead to a value in a document.
Path = tuple[str | int, ...]
_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|pwd|secret|token|credential|private.?key|api.?key|community|authoriz",
    re.IGNORECASE,
)

# A word of a name says where something is when it is one of these, alone or put together, such as
# host, baseurl, nameservers, ipaddr; not "report", which only ends like "port". No piece is made of
# others, so that a long name is read in one way only.
_PLACE = (
    r"host|server|ur[li]|addr|address|endpoint|domain|prox(?:y|ies)|gateway|remote|target|port|ipv?"
    r"|fqdn"
)
_ABOUT = (
    r"api|auth|backup|base|broker|callback|database|db|dest|destination|dns|file|ftp|https?|jdbc"
    r"|ldap|local|login|mail|main|mirror|mqtt|my|name|primary|root|sftp|smtp|source|sql|ssh|vpn|web"
)
_ADDRESS = re.compile(rf"(?:{_PLACE}|{_ABOUT})*(?:{_PLACE})(?:{_PLACE}|{_ABOUT}|e?s)*", re.I)
# hostName, base-url, IPAddress, server_urls and URLs fall into words here.
_WORDS = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# What stands beside an address under its name and is none: {"server": {"user": …}}.
_BESIDE = re.compile(
    r"user|username|login|account|timeout|retries|comment|note|description|label|mode", re.I
)
# The password of a URL, behind its user.
_PASSWORD_IN_URL = re.compile(r"(\w://[^\s/:@]*:)[^\s/@]+@")
# A text that is an address whatever its name: a URL, host:path with a user, a network share.
_POINTS = re.compile(r"\w://|@[^\s/]+:|(\\\\|//)\w")


def looks_secret(name: str) -> bool:
    """Guess from its name whether a value is a secret, where no schema says so."""
    return bool(_SECRET.search(name))


def without_secrets(data: Any, secret: Callable[[str], bool] = looks_secret) -> Any:
    """Copy a JSON document and leave out what `masked` would hide."""
    if isinstance(data, dict):
        return {
            name: without_secrets(value, secret)
            for name, value in data.items()
            if not secret(name) or value in (None, "")
        }
    if isinstance(data, list):
        return [without_secrets(value, secret) for value in data]
    return data


def masked(data: Any, secret: Callable[[str], bool] = looks_secret) -> Any:
    """Copy a JSON document with every secret's value replaced, however deep it lies."""
    if isinstance(data, dict):
        return {
            name: HIDDEN if secret(name) and value not in (None, "") else masked(value, secret)
            for name, value in data.items()
        }
    if isinstance(data, list):
        return [masked(value, secret) for value in data]
    return data


class NotRestored(ValueError):
    """A hidden value has nothing to stand for, or would go to another address along with it.

    `path` leads to it in the document; `where` is what moved, empty where nothing did.
    """

    def __init__(self, words: str, path: Path, where: str = "") -> None:
        super().__init__(words)
        self.path, self.where = path, where


def restored(data: Any, stored: Any, *, where: str = "") -> Any:
    """Put stored values back where an edited document still says HIDDEN.

    NotRestored names what says HIDDEN without anything having been stored at its place. So it does
    where the secrets would go elsewhere: `where` names an address that they go to and that is
    another, or one among the values is. Else whoever may edit could have a password sent to a
    machine of their own.
    """
    return _restored(data, stored, where or moved(data, stored))


def moved(data: Any, stored: Any) -> str:
    """Name an address in either document that the other has not at its place; empty without one.

    What `data` says is hidden is as it was.
    """
    now, before = dict(_leaves(data)), dict(_leaves(stored))
    hidden = [path for path, value in now.items() if value == HIDDEN]
    for path in now | before:
        new, old = now.get(path), before.get(path)
        if new == old or any(path[: len(covered)] == covered for covered in hidden):
            continue
        if _says_where(path, new) or _says_where(path, old):
            return ".".join(map(str, path))
    return ""


def without_password(text: str) -> str:
    """Hide the passwords of the URLs in a text."""
    return _PASSWORD_IN_URL.sub(rf"\1{HIDDEN}@", text)


def addresses(data: Any) -> dict[str, str]:
    """Give what in a document says where something is, by its place there, without secrets."""
    return {
        ".".join(map(str, path)): without_password(str(value))
        for path, value in _leaves(masked(data))
        if _says_where(path, value)
    }


def _restored(data: Any, stored: Any, where: str, path: Path = ()) -> Any:
    if isinstance(data, dict):
        known = stored if isinstance(stored, dict) else {}
        found = {}
        for name, value in data.items():
            if value != HIDDEN:
                found[name] = _restored(value, known.get(name), where, (*path, name))
                continue
            if name not in known:
                raise NotRestored(f"“{name}” has no stored value: write it out.", (*path, name))
            if where:
                raise NotRestored(
                    f"The address was changed (“{where}”), and a stored secret goes to no other"
                    f" one: write “{name}” out again, or leave it away.",
                    (*path, name),
                    where,
                )
            found[name] = known[name]
        return found
    if isinstance(data, list):
        known_list = stored if isinstance(stored, list) else []
        return [
            _restored(value, known_list[at] if at < len(known_list) else None, where, (*path, at))
            for at, value in enumerate(data)
        ]
    if data == HIDDEN:
        raise NotRestored("A hidden value was moved: write it out.", path)
    return data


def _leaves(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Give each value that holds no others, with its place in the document."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _leaves(value, (*path, name))
    elif isinstance(data, list):
        for at, value in enumerate(data):
            yield from _leaves(value, (*path, at))
    else:
        yield path, data


def _says_where(path: Path, value: Any) -> bool:
    """Guess whether a value says where something is, by its names and by how it looks."""
    if value is None or value is False or value == "":
        return False
    names = [part for part in path if isinstance(part, str)] or [""]
    words = _WORDS.findall(names[-1])
    if words and looks_secret(words[-1]):
        # A password for a proxy, say; a token's URL ends otherwise.
        return False
    if any(_names_address(word) for word in words):
        return True
    if not isinstance(value, str):
        return False
    if _POINTS.search(value) or _is_ip(value):
        return True
    above = [word for name in names[:-1] for word in _WORDS.findall(name)]
    beside = any(_BESIDE.fullmatch(word) for word in words)
    return not beside and any(_names_address(word) for word in above)


def _names_address(word: str) -> bool:
    return len(word) <= 60 and bool(_ADDRESS.fullmatch(word))


def _is_ip(text: str) -> bool:
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True
