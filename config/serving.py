"""Decides when it is noted that this process answers agents: every 5 s, by one thread of its own.

It also looks whether anything is late, so that no page has to.

Only what loads `config/wsgi.py` does that; the `live` process, workers and commands do not. The
first note comes some seconds after the start: a process that dies before has served nobody.
"""

from __future__ import annotations

import atexit
import logging
import threading

from django.conf import settings
from django.db import connection, connections

from config import watch
from sites import pulse, ticks

log = logging.getLogger(__name__)

# How long the end of the process may wait for a note that is being written.
PARTING_S = 2.0


class Noting:
    """The thread, until it is told to end."""

    def __init__(self, every_s: float) -> None:
        """Begin."""
        self._every_s = every_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serving", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End it; returns when its connection is closed."""
        self._ending.set()
        self._thread.join(PARTING_S)

    def _run(self) -> None:
        failing = False
        try:
            while not self._ending.wait(self._every_s):
                try:
                    pulse.note(pulse.SERVING)
                    ticks.tell(watch.look())
                    failing = False
                except Exception as error:
                    # Whatever it was: were this thread gone, nobody would be found lost any more.
                    if not failing:
                        log.warning(
                            "That the portal serves, and what is late, cannot be noted: %s", error
                        )
                    failing = True
                    connection.close()
        finally:
            connections.close_all()


def begin() -> None:
    """Note from here on that this process serves, until it ends."""
    if settings.SERVING_NOTED_EVERY_S:
        atexit.register(Noting(settings.SERVING_NOTED_EVERY_S).end)
