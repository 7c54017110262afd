"""Decides what is logged of a connection: a line when it is refused, or else one when it ends.

Written in the event loop, so it holds only what is there already: ids and times, no look at the
database, and of the address the route that `doors` found, empty where it is no door of ours.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from sites.middleware import client_of

from .streams import AgentStream, PageStream

if TYPE_CHECKING:
    from .streams import Message, Why

access = structlog.get_logger("yardmaster.access")


def refused(route: str, scope: Message, status: int, *, begun: float, why: Why = "refused") -> None:
    """Log who was not let in, by the address, since nothing else of them is known."""
    forwarded = b",".join(value for key, value in scope["headers"] if key == b"x-forwarded-for")
    host = (scope.get("client") or ("",))[0]
    _log(route, status, begun, why, address=client_of(forwarded.decode("latin-1"), host))


def ended(route: str, stream: AgentStream | PageStream, *, begun: float) -> None:
    """Log whose connection ended, why, and how long it was open."""
    if isinstance(stream, AgentStream):
        _log(route, 200, begun, stream.why, agent_id=str(stream.public_id))
    else:
        _log(route, 200, begun, stream.why, user_id=stream.who.user_id)


def _log(route: str, status: int, begun: float, why: Why, **who: str | int) -> None:
    seconds = round(time.monotonic() - begun, 3)
    access.info("connection", route=route, status=status, seconds=seconds, ended=why, **who)
