"""Decides who is let in at `/live/…`, speaking ASGI itself: no Django view, no middleware."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import resource
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.http import Http404, HttpRequest, parse_cookie
from django.http.request import split_domain_port, validate_host

from agents.authentication import agent_of_token, bearer
from sites.api.authentication import valid_token
from sites.api.problems import answer_for
from sites.models import User
from sites.problems import Refused, problem

from . import access
from .audience import Subscriber, subscriber_of
from .hub import Hub
from .streams import OK, WORK, AgentStream, PageStream
from .timing import timing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from .streams import Message, Receive, Send

    ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

AGENTS, PAGES = "/live/agent", "/live/events"
DOORS = (AGENTS, PAGES)

# Tokens, sessions and queues are read here, at connect only. Each thread keeps one connection.
THREADS = 4
DATABASE_WITHIN_S = 10.0
# After a restart the pages of all people come back: not in the same instant.
COME_BACK_MS = (500, 3000)


class Live:
    """The ASGI application: `/live/agent` and `/live/events` here, all else elsewhere."""

    def __init__(self, elsewhere: Callable[[], ASGIApp] | None = None) -> None:
        """Prepare; `elsewhere` makes the application that answers all other paths."""
        self._make_elsewhere = elsewhere
        self._elsewhere: ASGIApp | None = None
        self._hub: Hub | None = None
        self._pool: ThreadPoolExecutor | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            hub = self._start()
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            if self._elsewhere is None or path == "/live" or path.startswith("/live/"):
                await self._answer(hub, path, scope, receive, send)
            else:
                await self._elsewhere(scope, receive, send)

    # --- the life of the process -----------------------------------------------------------------

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._hub and self._pool:
            await self._hub.stop()
            self._pool.shutdown(wait=False, cancel_futures=True)
        await send({"type": "lifespan.shutdown.complete"})

    def _start(self) -> Hub:
        if self._hub is None:
            if self._make_elsewhere:
                self._elsewhere = self._make_elsewhere()
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="live-ask")
            self._hub = Hub(timing(), ask=self._ask)
            allow_many_connections()
            close_on_signal(self._hub)
        return self._hub

    async def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function that reads the database in the thread pool."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, asked, function, *arguments)

    # --- doors -----------------------------------------------------------------------------------

    async def _answer(
        self, hub: Hub, path: str, scope: Message, receive: Receive, send: Send
    ) -> None:
        begun = time.monotonic()
        # What is no door of ours may be anything, a secret too: it is not logged.
        route = path if path in DOORS else ""
        try:
            check(route, scope)
            let_in = self._agent if route == AGENTS else self._page
            stream, first_words = await let_in(hub, scope, send)
        except Exception as error:
            start, body = refusal(error)
            access.refused(route, scope, start["status"], begun=begun)
            try:
                await send(start)
                await send(body)
            except OSError:
                pass  # the client has gone
            return
        except BaseException:
            # The process stops; the server answers 500 by itself.
            access.refused(route, scope, 500, begun=begun, why="stopping")
            raise
        # Thousands of these wait: what was only needed to let them in is let go.
        scope["headers"].clear()
        try:
            await stream.serve(receive, first_words)
        finally:
            hub.remove(stream)
            access.ended(route, stream, begun=begun)

    async def _agent(self, hub: Hub, scope: Message, send: Send) -> tuple[AgentStream, bytes]:
        """Let an agent in by its token, and tell it at once when there is work already."""
        agent = await self._ask(agent_of_token, bearer(header(scope, b"authorization")))
        if agent is None:
            raise Refused(
                "not_authenticated",
                "This door is for agents: send the token that enrolment gave as a bearer token.",
                status=401,
            )
        stream = AgentStream(
            send, ends_at=hub.end_of_stream(), agent_id=agent.pk, public_id=agent.public_id
        )
        async with taken_in(hub, stream):
            return stream, OK + WORK if await hub.wait_for_work(stream, agent) else OK

    async def _page(self, hub: Hub, scope: Message, send: Send) -> tuple[PageStream, bytes]:
        """Let a person in by the portal's session or an access token."""
        who = await self._ask(
            subscriber,
            header(scope, b"authorization"),
            header(scope, b"cookie", "; "),
            parse_qs(scope["query_string"].decode("latin-1")).get("organization", []),
        )
        stream = PageStream(send, ends_at=hub.end_of_stream(), who=who)
        async with taken_in(hub, stream):
            return stream, OK + f"retry: {random.randint(*COME_BACK_MS)}\n\n".encode()


@asynccontextmanager
async def taken_in(hub: Hub, stream: AgentStream | PageStream) -> AsyncIterator[None]:
    """Take the stream in, and forget it when the block fails.

    OperationalError when the database does not answer for too long.
    """
    try:
        try:
            await asyncio.wait_for(hub.add(stream), DATABASE_WITHIN_S)
        except TimeoutError:
            raise OperationalError from None
        yield
    except BaseException:
        hub.remove(stream)
        raise


def check(route: str, scope: Message) -> None:
    """Refuse other paths, methods and host names."""
    if not route:
        raise Http404
    if scope["method"] != "GET":
        raise Refused("method_not_allowed", "Only GET is understood here.", status=405)
    host, _ = split_domain_port(header(scope, b"host").lower())
    if not validate_host(host, settings.ALLOWED_HOSTS):
        raise Refused(
            "malformed", "The portal is not known by the host name of this request.", status=400
        )


def header(scope: Message, name: bytes, joined_by: str = ", ") -> str:
    """Read a header; one that was sent in several parts is joined."""
    return joined_by.join(value.decode("latin-1") for key, value in scope["headers"] if key == name)


def refusal(error: Exception) -> tuple[Message, Message]:
    """Give the answer, problem JSON, as what ASGI sends; an error that nobody foresaw is logged."""
    answer = answer_for(error)
    if answer is None:
        log.error("A live connection failed.", exc_info=error)
        answer = problem(500, "error", "Something went wrong here; it was logged."), {}
    body, more = answer
    if body["status"] == 401:
        more["WWW-Authenticate"] = "Bearer"
    if body["status"] == 405:
        more["Allow"] = "GET"
    content = json.dumps(body).encode()
    headers: Sequence[tuple[bytes, bytes]] = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        *((name.lower().encode(), value.encode()) for name, value in more.items()),
    ]
    return (
        {"type": "http.response.start", "status": body["status"], "headers": headers},
        {"type": "http.response.body", "body": content},
    )


# --- in the thread pool --------------------------------------------------------------------------


def asked(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that only reads, once more if this thread's connection had died meanwhile."""
    close_old_connections()
    try:
        return function(*arguments)
    except (InterfaceError, OperationalError):
        connection.close()
    try:
        return function(*arguments)
    except InterfaceError as error:
        raise OperationalError from error


def subscriber(authorization: str, cookies: str, organization: list[str]) -> Subscriber:
    """Find who asks, and what they may hear of."""
    user: Any
    if authorization:
        row = valid_token(bearer(authorization))
        user = row.user if row else None
    else:
        user = user_of_cookies(cookies)
    if user is None or not user.is_authenticated:
        raise Refused(
            "not_authenticated",
            "Log in to the portal, or send a valid access token as a bearer token.",
            status=401,
        )
    try:
        return subscriber_of(user, UUID(organization[-1]) if organization else None)
    except ValueError:
        raise Http404 from None


def user_of_cookies(cookies: str) -> User | Any:
    """Find whose session the cookies name: Django's own check, which sees changed passwords too."""
    request = HttpRequest()
    request.COOKIES = parse_cookie(cookies)
    engine = import_module(settings.SESSION_ENGINE)
    request.session = engine.SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    return get_user(request)


# --- the process ---------------------------------------------------------------------------------


def allow_many_connections() -> None:
    """Raise the number of open files to what the system allows: it is the number of streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            log.warning("Not more than %s connections can be open: %s", soft, error)


def close_on_signal(hub: Hub) -> None:
    """End all streams when the process is asked to stop, before the server waits for them."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()

    def chain(number: signal.Signals, before: Callable[..., Any]) -> None:
        def close(signum: int, frame: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(hub.close)
            before(signum, frame)

        signal.signal(number, close)

    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        if callable(before):
            chain(number, before)
