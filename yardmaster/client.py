"""What to do with each answer of the portal, and how a request gets to it."""

import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import cache, partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from yardmaster import __version__
from yardmaster.agent import clock

SHORTEST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
# One wrong Retry-After must not silence an agent for a day.
LONGEST_RETRY_AFTER_S = 900.0
# What a reverse proxy says of a portal that is not there, and the portal without its database.
AWAY_STATUSES = frozenset({502, 503, 504})
# On a connection that was just made: it was taken, and nothing came back.
SILENCE = (httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError)
STOP_RUN_CODES = frozenset({"stale_attempt", "already_final", "result_conflict", "not_sealed"})


class Doing(Enum):
    """What the agent does after an answer."""

    GO_ON = "go on"
    TRY_AGAIN = "try again"
    STOP_WORK = "stop work, keep the spool"
    STOP_RUN = "stop that run"
    GO_FROM_LENGTH = "go on from length"
    REFUSED = "the request itself is wrong: do not repeat it"


def what_to_do(status: int, code: str = "") -> Doing:
    """Return what an answer with this HTTP status and problem code asks for.

    This is the table of the agent protocol, and the only place that knows it.
    """
    if 200 <= status < 300:
        return Doing.GO_ON
    if status == 401:
        return Doing.STOP_WORK
    if status == 404 or (status == 409 and code in STOP_RUN_CODES):
        return Doing.STOP_RUN
    if status == 416:
        return Doing.GO_FROM_LENGTH
    if status in {408, 425, 429} or status >= 500:
        return Doing.TRY_AGAIN
    return Doing.REFUSED


class PortalError(Exception):
    """An answer that is not 2xx, or no answer at all (status 0)."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        body: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.body = dict(body or {})
        self.retry_after = retry_after


class TryAgain(PortalError):
    """The portal could not be reached, or asked to come back later."""


class PortalAway(TryAgain):
    """There is a way to the portal, and no portal at its end: it was stopped, or is starting.

    Nobody listens there, a connection that was just made brings no answer, or who stands before
    the portal says so. A way that is cut looks otherwise: then no connection comes about.
    """


class Unauthorized(PortalError):
    """The portal does not accept this agent's token."""


class RunGone(PortalError):
    """The portal says that this agent does not hold the run any more."""


class OffsetMismatch(PortalError):
    """The portal has another number of bytes than this piece's offset says."""

    @property
    def length(self) -> int:
        """Return how many bytes the portal has."""
        return int(self.body["length"])


class Refused(PortalError):
    """The portal refused the request for what it says; repeating it would not help."""


_ERRORS: dict[Doing, type[PortalError]] = {
    Doing.TRY_AGAIN: TryAgain,
    Doing.STOP_WORK: Unauthorized,
    Doing.STOP_RUN: RunGone,
    Doing.GO_FROM_LENGTH: OffsetMismatch,
    Doing.REFUSED: Refused,
}


@dataclass(frozen=True)
class Answer:
    """A 2xx answer; `sent_at` is when its request was sent, on the agent's own clock."""

    status: int
    body: dict[str, Any]
    sent_at: float


@dataclass
class Contact:
    """When the portal last answered, and what went wrong since (for people)."""

    last_answer_at: float | None = None
    last_error: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self) -> None:
        """Note that the portal answered just now."""
        with self.lock:
            self.last_answer_at = time.time()
            self.last_error = ""

    def failed(self, message: str) -> None:
        """Note that a request found no portal."""
        with self.lock:
            self.last_error = message


class InsecureAddress(ValueError):
    """The address would send the agent's token in the clear."""


def check_address(url: str, *, insecure_http: bool = False) -> str:
    """Return the portal's address without a trailing slash.

    Raises InsecureAddress for plain http to another machine, unless it was asked for, and
    ValueError for what is no web address.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not a web address: it has to start with https://.")
    if parts.username or parts.password:
        raise ValueError("The portal's address must not hold a user name or password.")
    if parts.scheme == "http" and not insecure_http and not _is_loopback(parts.hostname):
        raise InsecureAddress(
            f"{url} is plain http: anyone on the way could read this agent's token and what it"
            " backs up. Use https, or accept that with --insecure-http."
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


@cache
def _trusted() -> ssl.SSLContext:
    """Read once which authorities this machine trusts: it takes longer than a request."""
    return httpx.create_ssl_context()


def _has_proxy(url: str) -> bool:
    """Say whether the environment puts a proxy between this machine and that address."""
    parts = urlsplit(url)
    if _is_loopback(parts.hostname or "") or proxy_bypass(parts.hostname or ""):
        return False
    return not getproxies().keys().isdisjoint({parts.scheme, "all"})


def _is_refusal(error: BaseException | None) -> bool:
    """Say whether the machine was there, and nobody listened."""
    while error is not None and not isinstance(error, ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error is not None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def pause(attempt: int, retry_after: float | None = None) -> float:
    """Return how many seconds to wait after the given failed attempt (1 is the first).

    Full jitter below a ceiling that doubles up to 30 s, and never less than Retry-After.
    """
    ceiling = min(LONGEST_PAUSE_S, 2.0 ** min(attempt, 10))
    jittered = random.uniform(SHORTEST_PAUSE_S, ceiling)
    return max(jittered, min(retry_after or 0.0, LONGEST_RETRY_AFTER_S))


class Client:
    """The one way from this program to its portal; it may be used by many threads."""

    def __init__(self, portal: str, token: str = "", *, insecure_http: bool = False) -> None:
        self.portal = check_address(portal, insecure_http=insecure_http)
        self.contact = Contact()
        headers = {"User-Agent": f"yardmaster-agent/{__version__}", "Accept": "application/json"}
        # The token to send, and one to try where that is refused while it is being changed.
        self._tokens = (token, "")
        self._behind_proxy = _has_proxy(self.portal)
        make = partial(
            httpx.Client,
            headers=headers,
            timeout=httpx.Timeout(30.0, connect=10.0),
            # A redirect would carry the token to an address that nobody enrolled at.
            follow_redirects=False,
            # The environment's proxy has no business between this machine and itself, and would
            # read the token there.
            trust_env=not _is_loopback(urlsplit(self.portal).hostname or ""),
            verify=_trusted(),
        )
        self._http = make()
        self._anew = make(limits=httpx.Limits(max_keepalive_connections=0))

    def close(self) -> None:
        """Close all connections."""
        self._http.close()
        self._anew.close()

    def use_tokens(self, token: str, otherwise: str = "") -> None:
        """Send this token from now on; `otherwise` is tried where it is refused."""
        self._tokens = (token, otherwise)

    def has_said_all(self, refusal: httpx.Response) -> bool:
        """Return whether a 401 is about the one token that there is now."""
        token, otherwise = self._tokens
        said = refusal.request.headers.get("Authorization", "")
        return not otherwise and said == _bearer(token).get("Authorization", "")

    def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        content_type: str = "application/octet-stream",
        params: Mapping[str, str | int] | None = None,
        timeout: float = 30.0,
        token: str = "",
        anew: bool = False,
    ) -> Answer:
        """Send one request below /api/v1 once, and return its 2xx answer.

        Raises the PortalError that `what_to_do` names for any other answer, TryAgain for none. A
        request whose token was changed on the way is sent again; with `token` that alone is sent.
        `anew` makes a connection for it: one that was there before may have been cut since, and
        its silence says nothing of the portal.
        """
        http = self._anew if anew else self._http
        headers = {} if content is None else {"Content-Type": content_type}
        sent_at = clock.now()

        def ask(said: str) -> httpx.Response:
            return http.request(
                method,
                f"{self.portal}/api/v1{path}",
                json=json,
                content=content,
                params=params,
                headers=headers | _bearer(said),
                timeout=httpx.Timeout(timeout, connect=10.0),
            )

        try:
            first, otherwise = (token, "") if token else self._tokens
            response = ask(first)
            if response.status_code == 401 and not token:
                # What is refused has done nothing: it can be sent again.
                again = otherwise or self._tokens[0]
                if again != first:
                    response = ask(again)
        except httpx.RequestError as error:
            message = f"No answer from {self.portal}: {error or type(error).__name__}"
            self.contact.failed(message)
            # A proxy on the way takes the connection itself, whatever lies behind it.
            silent = anew and isinstance(error, SILENCE)
            away = not self._behind_proxy and (silent or _is_refusal(error))
            raise (PortalAway if away else TryAgain)(message) from error
        return Answer(response.status_code, self._body_or_raise(response), sent_at)

    def send_until(
        self,
        give_up: Callable[[], bool],
        sleep: Callable[[float], None],
        method: str,
        path: str,
        **request: Any,
    ) -> Answer:
        """Send one request, again and again while the table says so and `give_up()` is false.

        `sleep` is given the seconds to wait, and may come back sooner. Raises the last TryAgain
        when it gave up.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(TryAgain),
            wait=_pause_after,
            stop=lambda state: give_up(),
            sleep=sleep,
            reraise=True,
        )
        answer: Answer = retrying(self.send, method, path, **request)
        return answer

    def stream(self, path: str) -> AbstractContextManager[httpx.Response]:
        """Open a stream of events at the portal's root (not below /api/v1).

        The portal writes a comment every 20 s, so a minute of silence is a dead connection.
        """
        return self._http.stream(
            "GET",
            f"{self.portal}{path}",
            headers={"Accept": "text/event-stream"} | _bearer(self._tokens[0]),
            timeout=httpx.Timeout(60.0, connect=10.0),
        )

    def _body_or_raise(self, response: httpx.Response) -> dict[str, Any]:
        try:
            body = response.json() if response.content else {}
        except ValueError:
            body = None
        fields = body if isinstance(body, dict) else {}
        status, code = response.status_code, str(fields.get("code", ""))
        doing = what_to_do(status, code)
        if doing is Doing.GO_ON and isinstance(body, dict):
            self.contact.answered()
            return fields
        if doing is Doing.GO_ON:
            # A log-in page of the network's own, for example: the portal itself said nothing.
            message = f"{self.portal} answered {status} with something that is not JSON"
            self.contact.failed(message)
            raise TryAgain(message, status=status)
        if doing is Doing.GO_FROM_LENGTH and not isinstance(fields.get("length"), int):
            doing = Doing.REFUSED
        if status < 500:
            self.contact.answered()
        message = _in_words(response, fields)
        if status >= 500:
            self.contact.failed(message)
        raise (PortalAway if status in AWAY_STATUSES else _ERRORS[doing])(
            message,
            status=status,
            code=code,
            body=fields,
            retry_after=_retry_after(response.headers),
        )


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _pause_after(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return pause(state.attempt_number, getattr(error, "retry_after", None))


def _in_words(response: httpx.Response, fields: Mapping[str, Any]) -> str:
    if response.is_redirect:
        return (
            f"{response.request.url} redirects to {response.headers.get('location')}:"
            " enrol with the address that the portal really has."
        )
    words = str(fields.get("detail") or fields.get("title") or f"HTTP {response.status_code}")
    errors = fields.get("errors")
    if isinstance(errors, Mapping):
        named = (f"{name}: {' '.join(map(str, _listed(said)))}" for name, said in errors.items())
        words = f"{words} ({'; '.join(named)})"
    return words[:2000]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        then = parsedate_to_datetime(value)
        # Both dates are the portal's, so that this machine's clock does not matter.
        return max(0.0, (then - parsedate_to_datetime(headers.get("date", ""))).total_seconds())
    except (TypeError, ValueError):
        return None
