"""The tool `http`: it backs up what web addresses answer."""

import base64
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from yardmaster import __version__
from yardmaster.agent.marks import looks_secret
from yardmaster.sdk import Context, Failed, Field, Outcome, function, tool
from yardmaster.tools.names import is_gits_own, why_refused
from yardmaster.tools.places import credentials_for, text_of
from yardmaster.tools.scan import Scan
from yardmaster.tools.summary import send_fetched, size_in_words

MEGABYTE = 1_000_000
MOST_REDIRECTS = 10
SLOWEST_S = 30.0
LONGEST_NAME = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Page:
    """An address and the path that its answer is kept under."""

    address: str
    path: str


@tool(name="http", version="1.0")
class Http:
    """Files that are read by HTTP or HTTPS."""

    @function(title="Back up web addresses", produces="snapshot", credentials=True)
    def backup(
        self,
        context: Context,
        addresses: Annotated[
            list[str] | None,
            Field(
                "Addresses",
                "One for each file: https://plc.example/config.xml, or /config.xml on the target's"
                " own. After it, with a space between, the path to keep it under. Empty: the"
                " target's address.",
                maxItems=1000,
            ),
        ] = None,
        headers: Annotated[
            dict[str, str] | None,
            Field("Headers", "Such as Accept. What is secret belongs in the credentials."),
        ] = None,
        max_file_mb: Annotated[
            float, Field("Largest file (MB)", "A larger answer fails the run.", exclusiveMinimum=0)
        ] = 100.0,
        certificate: Annotated[
            str,
            Field("Certificate", "In PEM: an authority to trust besides the usual ones."),
        ] = "",
    ) -> Outcome:
        """Read each address and keep the answers as a snapshot; all of them or none.

        Credentials go to the target's own server, or without one to the servers that are named. A
        redirect to another server does not take them along.
        """
        base = _base(context.target.address)
        pages = list(_pages(addresses or [""], base))
        _see_that_paths_differ(pages)
        said = _plain_headers(headers or {})
        limit = int(max_file_mb * MEGABYTE)
        with (
            context.temporary_folder() as root,
            httpx.Client(verify=_trust(certificate), headers=said) as client,
        ):
            for done, page in enumerate(pages):
                size = _fetch(context, client, page, base, root / page.path, limit)
                context.log(f"{page.address} → {page.path}, {size_in_words(size)}")
                context.progress(15 * (done + 1) // len(pages))
            return send_fetched(context, Scan(root), base or "the addresses")


def _base(address: str) -> str:
    """Return the target's address when it is one of the web, with https:// if it is bare."""
    address = address.strip()
    if not address:
        return ""
    return address if "://" in address else f"https://{address}"


def _pages(lines: list[str], base: str) -> Iterator[Page]:
    for line in lines:
        written, *rest = line.split(None, 1) or [""]
        address = urljoin(base, written)
        try:
            parts = urlsplit(address)
            known = parts.scheme in _PORTS and parts.hostname and (parts.port or True)
        except ValueError:
            known = False
        if not known:
            raise Failed(
                f"{written or 'The target'} is no web address."
                if written or base
                else "No address was named.",
                "Write it with https:// or http://, or give the target such an address.",
            )
        if parts.username is not None or parts.password is not None:
            raise Failed(
                f"The address on {parts.hostname} holds a user name or password.",
                "Put them into the credentials, where nobody can read them.",
            )
        own = bool(base) and origin(address) == origin(base)
        path = _given_path(rest[0].strip()) if rest else path_for(address, with_host=not own)
        yield Page(address, path)


def _given_path(path: str) -> str:
    for name in path.split("/"):
        why = "has an empty part" if not name else why_refused(name, path)
        if name in {".", ".."} or is_gits_own(name):
            why = "leads out of the snapshot" if name in {".", ".."} else "has git's own name"
        if why:
            raise Failed(f"{path!r} is no path to keep a file under: it {why}.")
    return path


def path_for(address: str, *, with_host: bool) -> str:
    """Return the path that an address' answer is kept under.

    Its own path, of which only letters, digits, dot, dash and underscore stay; `index` for a
    folder; what follows a question mark becomes part of the name.
    """
    parts = urlsplit(address)
    names = [_safe(unquote(name)) for name in parts.path.split("/") if name]
    if not names or parts.path.endswith("/"):
        names.append("index")
    if parts.query:
        stem, dot, ending = names[-1].rpartition(".")
        query = _safe(unquote(parts.query))
        names[-1] = f"{stem}-{query}.{ending}" if dot and stem else f"{names[-1]}-{query}"
    if with_host:
        host = _safe(parts.hostname or "")
        names.insert(0, host if parts.port is None else f"{host}_{parts.port}")
    return "/".join(name[-LONGEST_NAME:] for name in names)


def _safe(name: str) -> str:
    safe = re.sub(r"[^\w.-]+", "_", name)
    # Neither `..` nor `.git`, nor a name that Windows reads without its end.
    return "_" if not safe.strip("._") else re.sub(r"^\.|\.$", "_", safe)


def _see_that_paths_differ(pages: list[Page]) -> None:
    taken: dict[str, Page] = {}
    for page in pages:
        other = taken.setdefault(page.path, page)
        if other is not page:
            raise Failed(
                f"{other.address} and {page.address} would both be kept as {page.path}.",
                "Write a path after one of them, with a space between.",
            )
    for page in pages:
        folder = page.path
        while folder := folder.rpartition("/")[0]:
            if folder in taken:
                raise Failed(
                    f"{taken[folder].address} would be kept as {folder}, which is a folder for"
                    f" {page.address}.",
                    "Write a path after one of them, with a space between.",
                )


def _plain_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name in headers:
        if looks_secret(name) or name.lower() in {"cookie", "proxy-authorization"}:
            raise Failed(
                f"The header {name} belongs in the credentials.",
                "The parameters of a job can be read by whoever may see it.",
            )
    # As it is, so that the same answer gives the same bytes.
    fixed = {"User-Agent": f"yardmaster-agent/{__version__}", "Accept-Encoding": "identity"}
    return {**fixed, **_sendable(headers)}


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise Failed(f"{name!r} is no name of a header.")
        if not isinstance(value, str) or not re.fullmatch(r"[\t\x20-\x7e]*", value):
            raise Failed(f"The header {name} holds what no header can.")
    return dict(headers)


def _trust(certificate: str) -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    if certificate.strip():
        try:
            context.load_verify_locations(cadata=_in_lines(certificate))
        except (ssl.SSLError, ValueError):
            raise Failed(
                "The certificate to trust is none.",
                "It begins with -----BEGIN CERTIFICATE-----, and ends with the END line.",
            ) from None
    return context


def _in_lines(certificate: str) -> str:
    """Return PEM with its lines: a form's field of one line lets them run together."""

    def lines(found: re.Match[str]) -> str:
        plain = "".join(found[2].split())
        body = "\n".join(plain[at : at + 64] for at in range(0, len(plain), 64))
        return f"\n{found[1]}\n{body}\n{found[3]}\n"

    marks = r"(-----BEGIN CERTIFICATE-----)(.*?)(-----END CERTIFICATE-----)"
    return re.sub(marks, lines, certificate, flags=re.DOTALL)


def origin(address: str) -> tuple[str, str, int]:
    """Return the server of an address: what credentials belong to."""
    parts = urlsplit(address)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme, 0)


def _secret_headers(context: Context, address: str, base: str) -> dict[str, str]:
    """Return the headers that only the server of this address may get."""
    if not context.credentials or (base and origin(address) != origin(base)):
        return {}
    scheme, host, _ = origin(address)
    credentials = credentials_for(context, host)
    headers = credentials.get("headers") or {}
    if not isinstance(headers, Mapping):
        raise Failed("“headers” in the credentials has to be a table of texts.")
    secret = _sendable(headers)
    username, password = text_of(credentials, "username"), text_of(credentials, "password")
    if token := text_of(credentials, "token"):
        secret.update(_sendable({"Authorization": f"Bearer {token}"}))
    elif username or password:
        both = base64.b64encode(f"{username}:{password}".encode()).decode()
        secret["Authorization"] = f"Basic {both}"
    if secret and scheme == "http":
        context.warn(
            f"The credentials for {host} go over plain http: anyone on the way reads them."
        )
    return secret


def _fetch(
    context: Context, client: httpx.Client, page: Page, base: str, kept: Path, limit: int
) -> int:
    """Keep what an address answers in a file, and return its size."""
    address, secret = page.address, _secret_headers(context, page.address, base)
    for _ in range(MOST_REDIRECTS + 1):
        context.check()
        left = context.remaining()
        slowest = SLOWEST_S if left is None else max(1.0, min(SLOWEST_S, left))
        try:
            with client.stream("GET", address, headers=secret, timeout=slowest) as answer:
                if answer.status_code not in _REDIRECTS:
                    return _keep(context, answer, page, kept, limit)
                further = _redirected(answer, address)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failed(_why(error, address)) from None
        if origin(further) != origin(address):
            # What this server was told stays with it, and does not come back by another's word.
            secret = {}
            client.cookies.clear()
        address = further
    raise Failed(f"{page.address} redirects more than {MOST_REDIRECTS} times.")


def _redirected(answer: httpx.Response, address: str) -> str:
    further = urljoin(address, answer.headers.get("location", ""))
    scheme, host, _ = origin(further)
    if scheme not in _PORTS or not host or "@" in urlsplit(further).netloc:
        raise Failed(f"{address} redirects to something that is no web address.")
    if scheme == "http" and address.startswith("https:"):
        raise Failed(f"{address} redirects from https to plain http on {host}: refused.")
    return further


def _keep(context: Context, answer: httpx.Response, page: Page, kept: Path, limit: int) -> int:
    if answer.status_code != 200:
        words = f"{answer.status_code} {answer.reason_phrase}".strip()
        raise Failed(f"{page.address} answered {words}.")
    too_large = Failed(f"{page.address} is larger than {size_in_words(limit)}.")
    said = answer.headers.get("content-length", "")
    if said.isdigit() and int(said) > limit:
        raise too_large
    kept.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with kept.open("xb") as file:
        for block in answer.iter_bytes():
            context.check()
            size += len(block)
            if size > limit:
                raise too_large
            file.write(block)
    return size


def _why(error: Exception, address: str) -> str:
    words = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in words:
        reason = words.partition("CERTIFICATE_VERIFY_FAILED] ")[2].partition(" (_ssl")[0]
        return (
            f"{address} shows a certificate that is not trusted ({reason or words}). If it is the"
            " right one, put it, or its authority's, into the parameter “certificate”."
        )
    if isinstance(error, httpx.TimeoutException):
        return f"{address} did not answer in time."
    return f"{address} could not be read: {words}"
