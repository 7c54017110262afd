"""A child process that does one piece of work and dies on the way, as by kill -9."""

import os
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

# The built-in functions, of Python and of libgit2, that change something on disk.
TOUCHING = {
    "create_reference_direct",
    "flush",
    "fsync",
    "git_packbuilder_write",
    "mkdir",
    "open",
    "rename",
    "replace",
    "rmdir",
    "unlink",
    "write",
}


def dies(call: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that is killed right before its n-th call that touches the disk.

    False when the work was done before that call came.
    """
    with warnings.catch_warnings():
        # The child runs one function and ends; other threads' locks do not concern it.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            _watch(call)
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), "the work failed in the child, see above"
    return status != 0


def _watch(call: int) -> None:
    count = 0

    def watch(frame, event, function):
        nonlocal count
        if event == "c_call" and function.__name__ in TOUCHING:
            count += 1
            if count == call:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)


def rounds(folder: Path) -> Iterator[int]:
    """Give 1, 2, 3… with a fresh copy of the folder for each, for as long as the child dies."""
    pristine = folder.with_name(folder.name + "-pristine")
    shutil.copytree(folder, pristine)
    for call in range(1, 1000):
        shutil.rmtree(folder)
        shutil.copytree(pristine, folder)
        yield call
