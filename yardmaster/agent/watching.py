"""Tells a tool that waits for something else that its run is over."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# How soon a tool that waits inside a library hears that its run has to stop.
WATCH_S = 0.2


@contextmanager
def watched(over: Callable[[], bool], cancel: Callable[[], object]) -> Iterator[None]:
    """Call `cancel` once, from another thread, if `over` comes true while the block goes on."""
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            if over():
                cancel()
                return
            done.wait(WATCH_S)

    watcher = threading.Thread(target=watch, name="stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
