"""What the tool `http` keeps of a web server, and what it never tells another."""

import datetime
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.yardmaster.conftest import StartAgent
from tests.yardmaster.portal import Portal
from yardmaster.testkit import Report, run
from yardmaster.tools.http import Http, path_for

pytestmark = pytest.mark.once

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A web server; it answers with `pages` (bytes, a status, or what it is to do)."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.pages: dict[str, bytes | int | str | Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                named = {name.lower(): value for name, value in self.headers.items()}
                server.asked.append((self.path, named))
                page = server.pages.get(self.path, 404)
                if callable(page):
                    page(self)
                    return
                self.send_response(
                    page if isinstance(page, int) else 302 if isinstance(page, str) else 200
                )
                if isinstance(page, str):
                    self.send_header("Location", page)
                    self.send_header("Set-Cookie", "session=cookie-1")
                body = page if isinstance(page, bytes) else b""
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that refuses the certificate, or hangs up at its limit

        self.http = Quiet(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.http.socket = tls.wrap_socket(
                self.http.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.http.server_port}"
        Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()


ServerFor = Callable[..., Server]


@pytest.fixture
def server_for() -> Iterator[ServerFor]:
    made: list[Server] = []

    def make(tls: ssl.SSLContext | None = None) -> Server:
        made.append(Server(tls))
        return made[-1]

    yield make
    for server in made:
        server.http.shutdown()
        server.http.server_close()


@pytest.fixture
def server(server_for: ServerFor) -> Server:
    made = server_for()
    made.pages = {"/config.xml": b"<plc/>", "/": b"<html>", "/logs/today.csv?line=1": b"a,b\n"}
    return made


def back_up(address: str = "", *addresses: str, **options: Any) -> Report:
    given = {"addresses": list(addresses), **options.pop("parameters", {})}
    return run(Http, "backup", given, address=address, **options)


def test_relative_addresses_are_the_targets_and_paths_can_be_given(server: Server) -> None:
    report = back_up(
        server.url, "/config.xml", "/logs/today.csv?line=1", f"{server.url}/  start/page.html"
    )
    assert report.status == "completed"
    assert report.snapshot == {
        "config.xml": b"<plc/>",
        "logs/today-line_1.csv": b"a,b\n",
        "start/page.html": b"<html>",
    }
    again = back_up(server.url, "/config.xml", base_tree=report.tree)
    assert "added" in again.message


def test_the_targets_address_alone_is_enough(server: Server) -> None:
    report = back_up(f"{server.url}/config.xml")
    assert report.snapshot == {"config.xml": b"<plc/>"}


def test_one_answer_that_is_not_there_fails_the_whole(server: Server) -> None:
    report = back_up(server.url, "/config.xml", "/missing")
    assert (report.status, report.snapshot) == ("failed", None)
    assert report.message == f"{server.url}/missing answered 404 Not Found."


@pytest.mark.parametrize(
    ("credentials", "sent"),
    [
        ({"username": "u", "password": "hunter22"}, ("authorization", "Basic dTpodW50ZXIyMg==")),
        ({"token": "t0ken"}, ("authorization", "Bearer t0ken")),
        ({"headers": {"X-Api-Key": "k3y"}}, ("x-api-key", "k3y")),
    ],
)
def test_credentials_go_with_the_request_and_not_with_a_redirect_elsewhere(
    server_for: ServerFor, server: Server, credentials: dict[str, Any], sent: tuple[str, str]
) -> None:
    other = server_for()
    server.pages["/here"] = "/config.xml"
    server.pages["/there"] = f"{other.url}/file"
    server.pages["/back"] = f"{other.url}/back"
    other.pages = {"/file": b"theirs", "/back": f"{server.url}/config.xml"}
    report = back_up(server.url, "/here", "/there x", "/back y", credentials=credentials)
    assert report.snapshot == {"here": b"<plc/>", "x": b"theirs", "y": b"<plc/>"}
    name, value = sent
    assert [(path, headers.get(name)) for path, headers in server.asked] == [
        ("/here", value),
        ("/config.xml", value),
        ("/there", value),
        ("/back", value),
        # Sent here by another server's word.
        ("/config.xml", None),
    ]
    for _, headers in other.asked:
        assert name not in headers
        assert "cookie" not in headers
    assert "go over plain http" in report.log


def test_a_named_server_that_is_not_the_targets_gets_no_credentials(
    server_for: ServerFor, server: Server
) -> None:
    other = server_for()
    other.pages["/a"] = b"x"
    back_up(server.url, "/config.xml", f"{other.url}/a", credentials={"token": "t0ken"})
    assert [h.get("authorization") for _, h in server.asked + other.asked] == ["Bearer t0ken", None]


def test_the_agents_own_credentials_go_to_their_hosts_alone(server: Server, tmp_path: Path) -> None:
    kept = tmp_path / "credentials.toml"
    kept.write_text('[plc]\ntoken = "t0ken"\nhosts = ["127.0.0.1"]\n[other]\ntoken = "t0ken-2"\n')
    kept.chmod(0o600)
    for name, status in (("plc", "completed"), ("other", "failed")):
        given = {"addresses": ["/config.xml"], "credentials": name}
        report = run(Http, "backup", given, address=server.url, folder=tmp_path)
        assert report.status == status
    assert report.message == "The agent's own credentials are not for 127.0.0.1."
    assert [h.get("authorization") for _, h in server.asked] == ["Bearer t0ken"]


def test_an_answer_is_cut_off_at_the_limit_whatever_it_says_of_itself(server: Server) -> None:
    def endless(http: BaseHTTPRequestHandler) -> None:
        http.send_response(200)
        http.end_headers()
        while True:
            http.wfile.write(bytes(100_000))

    server.pages |= {"/endless": endless, "/large": bytes(1_000_001)}
    for path in ("/endless", "/large"):
        report = back_up(server.url, path, parameters={"max_file_mb": 1})
        assert report.message == f"{server.url}{path} is larger than 1.0 MB."


def test_an_answer_that_breaks_off_is_no_file(server: Server) -> None:
    def broken(http: BaseHTTPRequestHandler) -> None:
        http.send_response(200)
        http.send_header("Content-Length", "100")
        http.end_headers()
        http.wfile.write(b"half")

    server.pages["/broken"] = broken
    report = back_up(server.url, "/broken")
    assert (report.status, report.snapshot) == ("failed", None)
    assert f"{server.url}/broken could not be read" in report.message


def test_the_time_limit_ends_a_server_that_trickles(server: Server) -> None:
    def trickle(http: BaseHTTPRequestHandler) -> None:
        http.send_response(200)
        http.end_headers()
        while True:
            http.wfile.write(b"x")
            http.wfile.flush()

    server.pages["/slow"] = trickle
    report = back_up(server.url, "/slow", parameters={"max_file_mb": 1e6}, time_limit_s=0.5)
    assert report.status == "stopped"


def certificate() -> tuple[str, str]:
    """Make a certificate for 127.0.0.1 that nobody has signed; returns it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "plc")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return made.public_bytes(pem).decode(), key.private_bytes(pem, form, plain).decode()


def test_a_certificate_that_is_not_trusted_is_refused_and_one_may_be_named(
    server_for: ServerFor, server: Server, tmp_path: Path
) -> None:
    pem, key = certificate()
    (tmp_path / "pem").write_text(pem + key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "pem")
    secure = server_for(tls)
    secure.pages = {"/a": b"x", "/down": f"{server.url}/config.xml"}
    refused = back_up(secure.url, "/a", credentials={"token": "t0ken"})
    assert refused.status == "failed"
    assert "not trusted (certificate verify failed: self" in refused.message
    assert secure.asked == []
    # As a field of one line leaves it.
    trusted = {"certificate": pem.replace("\n", "")}
    assert back_up(secure.url, "/a", parameters=trusted).snapshot == {"a": b"x"}
    down = back_up(secure.url, "/down", parameters=trusted)
    assert "redirects from https to plain http" in down.message
    assert server.asked == []


@pytest.mark.parametrize(
    ("address", "addresses", "parameters", "words"),
    [
        ("", [], {}, "No address was named."),
        ("", ["config.xml"], {}, "config.xml is no web address."),
        ("", ["file:///etc/passwd"], {}, "is no web address."),
        ("", ["https://h:99999/"], {}, "is no web address."),
        ("", ["https://u:hunter2@h/"], {}, "The address on h holds a user name or password."),
        ("https://h", ["/a ../b"], {}, "it leads out of the snapshot"),
        ("https://h", ["/a /etc/x"], {}, "it has an empty part"),
        ("https://h", ["/a .git/config"], {}, "it has git's own name"),
        ("https://h", ["/a", "/a"], {}, "would both be kept as a."),
        ("https://h", ["/a", "/a/b"], {}, "which is a folder for https://h/a/b."),
        ("https://h", ["/a"], {"headers": {"Authorization": "x"}}, "belongs in the credentials"),
        ("https://h", ["/a"], {"headers": {"A": "x\r\nB: y"}}, "holds what no header can"),
        ("https://h", ["/a"], {"certificate": "x"}, "The certificate to trust is none."),
        ("http://127.0.0.1:1", ["/a"], {}, "could not be read: "),
    ],
)
def test_what_was_asked_for_wrongly_is_said(
    address: str, addresses: list[str], parameters: dict[str, Any], words: str
) -> None:
    report = back_up(address, *addresses, parameters=parameters)
    assert report.status == "failed"
    assert words in report.message
    assert "hunter2" not in report.message + report.error


def test_a_ring_of_redirects_ends(server: Server) -> None:
    server.pages["/ring"] = "/ring"
    assert "redirects more than 10 times" in back_up(server.url, "/ring").message


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("https://h/", "index"),
        ("https://h/a/b/", "a/b/index"),
        ("https://h/../../etc/passwd", "_/_/etc/passwd"),
        ("https://h/%2e%2e/%2Fetc%2Fx", "_/_etc_x"),
        ("https://h/.git/config", "_git/config"),
        ("https://h/a%00b%0A.xml", "a_b_.xml"),
        ("https://h/a?q=1&r=../x", "a-q_1_r_.._x"),
        ("https://h/C:/x.", "C_/x_"),
    ],
)
def test_an_address_never_leads_out_of_the_snapshot(address: str, path: str) -> None:
    assert path_for(address, with_host=False) == path
    assert path_for(address, with_host=True) == f"h/{path}"


@pytest.mark.faults
def test_an_agent_backs_a_server_up_with_the_credentials_of_the_claim(
    portal: Portal, server: Server, start_agent: StartAgent
) -> None:
    run = portal.add(
        server.url,
        tool="http",
        parameters={"addresses": ["/config.xml"]},
        credentials={"username": "u", "password": "hunter22"},
    )
    start_agent()
    portal.wait(lambda: run.result)
    assert run.result["message"] == "1 file, 6 bytes: 1 added"
    assert [entry.path for entry in run.manifest] == ["config.xml"]
    assert server.asked[0][1]["authorization"] == "Basic dTpodW50ZXIyMg=="
