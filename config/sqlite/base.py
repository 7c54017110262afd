"""How the threads of one process share SQLite's one write lock: each waits for its turn.

SQLite itself lets a writer that finds the lock taken sleep for up to 100 ms and try again: the lock
lies idle while others sleep, and somebody is passed over again and again. With eight agents that
made the slowest of a hundred claims take ten times as long.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from django.db.backends.sqlite3 import base

_turn = threading.Lock()


def _forget_turns() -> None:
    """Begin anew in a forked process: whoever had the turn is not there to pass it on."""
    global _turn
    _turn = threading.Lock()


os.register_at_fork(after_in_child=_forget_turns)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own, whose transactions wait for their turn before they ask for the lock.

    Only the wait is ours, for as long as SQLite would wait for the lock: when the turn does not
    come in that time, or another process holds the lock, SQLite decides as it always does.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._mine: threading.Lock | None = None

    def _start_transaction_under_autocommit(self) -> None:
        turn = _turn
        if self._mine is None and turn.acquire(timeout=self.settings_dict["OPTIONS"]["timeout"]):
            self._mine = turn
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._pass_turn()
            raise

    def _commit(self) -> None:
        try:
            super()._commit()  # type: ignore[misc]
        finally:
            self._pass_turn()

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._pass_turn()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._pass_turn()

    def _pass_turn(self) -> None:
        turn, self._mine = self._mine, None
        if turn is not None:
            turn.release()
