"""Decides what a monitor outside hears: that all is well, or that something is late, or nothing.

It is the one that still speaks when the whole portal does not: no ping is an alarm there.
"""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit, urlunsplit

import httpx
from django.conf import settings
from django.core.cache import cache

from config import watch

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 5.0
# Several beats tick; one ping a minute is enough. A little less, for ticks come a little early.
AT_MOST_EVERY_S = 50
_failing = False


def ping() -> bool:
    """Ask `MONITOR_URL` once, unless that was done a moment ago; says whether it took it.

    Where something is amiss `/fail` stands behind its path, as healthchecks.io has it. Whatever
    comes of it is logged when it changes and harms nothing. The address is a secret.
    """
    global _failing
    if not settings.MONITOR_URL or not cache.add("monitor", 1, AT_MOST_EVERY_S):
        return False
    try:
        address = urlsplit(settings.MONITOR_URL)
        if watch.look():
            address = address._replace(path=f"{address.path.rstrip('/')}/fail")
        status = asyncio.run(_status_of(urlunsplit(address)))
        said = "" if 200 <= status < 300 else f"it answered {status}"
    except Exception as error:
        # Whatever a library stumbles over: the worker has better to do.
        said = type(error).__name__
    if said and not _failing:
        log.warning("The monitor at MONITOR_URL takes no ping: %s.", said)
    elif _failing and not said:
        log.info("The monitor at MONITOR_URL takes pings again.")
    _failing = bool(said)
    return not said


async def _status_of(url: str) -> int:
    """Send the request; all of it within the limit, and nothing of the answer's body."""
    async with (
        asyncio.timeout(ANSWER_WITHIN_S),
        httpx.AsyncClient(timeout=ANSWER_WITHIN_S) as client,
        client.stream("GET", url) as answer,
    ):
        return answer.status_code
