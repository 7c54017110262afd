"""Decides how the processes of one machine are started, watched, restarted and ended together.

Each child leads its own session, so that all it starts ends with it. None outlives this process:
the system sends each child SIGTERM when this process is gone (Linux), and a guard, which waits on
a pipe that only this process holds, ends every group that is left, wherever it runs.

Run as a program, the file is one of two small things that must come before any other import:
`exec` prepares a child and becomes it, `guard` is the guard.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

STOP_AFTER_S = 2.5  # all is to be stopped within 5 s
LONGEST_DELAY_S = 30.0
STEADY_AFTER_S = 10.0  # a child that ran this long did start
COLOURS = (36, 35, 33, 32, 34, 31)


def child_command(
    command: Sequence[str], *, user: str = "", parting: int = signal.SIGTERM
) -> list[str]:
    """Return the command that becomes `command`, bound to the life of the caller.

    On Linux it gets the signal `parting` when the thread that starts it ends, so start it from
    the main thread. With `user` it runs as that user, which needs root.
    """
    program = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), "exec"]
    return [*program, str(os.getpid()), str(int(parting)), user, *command]


@dataclass
class Child:
    """One supervised process: how it is started, and how its starts have gone."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] | None = None
    once: bool = False  # it is expected to end, and is not started again
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    quick_ends: int = 0
    exit_code: int | None = None
    rest: bytes = b""
    lines: list[str] = field(default_factory=list)


class Supervisor:
    """Run children until told to stop, in one thread."""

    def __init__(
        self,
        *,
        folder: Path,
        output: IO[str] | None = None,
        inherited: Sequence[int] = (),
        delay_s: float = 1.0,
        stop_after_s: float = STOP_AFTER_S,
    ) -> None:
        """Prepare for children that run in `folder`.

        `inherited` are file descriptors that each child keeps open: a lock on them is held until
        the last child is gone. `delay_s` is the wait before the first restart, `stop_after_s` the
        time from SIGTERM to SIGKILL.
        """
        self.folder = folder
        self.output = output or sys.stdout
        self.inherited = tuple(inherited)
        self.delay_s = delay_s
        self.stop_after_s = stop_after_s
        self.children: dict[str, Child] = {}
        self.stopping = False
        self.failure = ""
        self._selector = selectors.DefaultSelector()
        self._guard: subprocess.Popen[bytes] | None = None

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        once: bool = False,
    ) -> Child:
        """Start a child and keep it running, or run it `once` and keep its last lines."""
        child = Child(name, list(command), env, once)
        self.children[name] = child
        self._spawn(child)
        return child

    def stop(self, failure: str = "") -> None:
        """End the run: `run` then stops every child and returns; `failure` says what went wrong."""
        self.stopping = True
        self.failure = self.failure or failure

    def run(self, steps: Iterator[None] | None = None) -> str:
        """Watch the children until `stop`, SIGINT, SIGTERM or SIGHUP; return the failure, if any.

        `steps` is advanced between looks at the children, at most every 0.1 s, so that a start in
        several steps can wait for a child while its output is shown.
        """
        asked = 0

        def ask(signum: int, frame: object) -> None:
            nonlocal asked
            asked += 1
            self.stop()

        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, ask) for number in signals}
        woken, waker = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(waker, False)
        # Without it a signal is heard only when the wait for output is over.
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self._selector.register(woken, selectors.EVENT_READ)
        try:
            while not self.stopping:
                self._pump(0.1 if steps else 0.5)
                self._restart()
                if steps and not self.stopping:
                    try:
                        next(steps)
                    except StopIteration:
                        steps = None
            self._end_all(lambda: asked > 1)
        except BaseException:
            self._end_all(lambda: True)
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(-1)
            self._selector.unregister(woken)
            os.close(woken)
            os.close(waker)
        return self.failure

    def say(self, text: str, *, name: str = "yardmaster") -> None:
        """Print lines under a child's name, in its colour where that is seen."""
        width = max([len("yardmaster"), *map(len, self.children)])
        prefix = f"{name:<{width}} | "
        if self.output.isatty() and "NO_COLOR" not in os.environ:
            names = list(self.children)
            colour = COLOURS[names.index(name) % len(COLOURS)] if name in names else 1
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        try:
            for line in text.splitlines():
                print(prefix + line, file=self.output)
            self.output.flush()
        except (BrokenPipeError, OSError):  # the terminal is gone: nobody reads, so end
            self.output = open(os.devnull, "w")  # noqa: SIM115 - lives as long as this process
            self.stop()

    # --- the children's lives --------------------------------------------------------------------

    def _spawn(self, child: Child) -> None:
        self._watch_over()
        child.process = subprocess.Popen(
            child_command(child.command),
            cwd=self.folder,
            env=child.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=self.inherited,
        )
        child.started_at = time.monotonic()
        child.exit_code = None
        child.rest = b""
        self._tell_guard(f"+{child.process.pid}")
        assert child.process.stdout is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        self._selector.register(child.process.stdout, selectors.EVENT_READ, child)

    def _pump(self, timeout: float) -> None:
        """Show what the children said, and note which have ended."""
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, Child):
                self._show(key.data)
            else:
                os.read(key.fd, 512)  # a signal: its handler has run
        for child in self.children.values():
            if child.process and child.process.poll() is not None:
                self._note_end(child)

    def _show(self, child: Child) -> bool:
        """Show what the child said since; say whether it may say more."""
        assert child.process
        assert child.process.stdout
        try:
            piece = os.read(child.process.stdout.fileno(), 65536)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        more = bool(piece)
        if not more:
            self._selector.unregister(child.process.stdout)
            child.process.stdout.close()
            piece = b"\n" if child.rest else b""
        *whole, child.rest = (child.rest + piece).split(b"\n")
        if len(child.rest) > 65536:
            whole, child.rest = [*whole, child.rest], b""
        for line in whole:
            text = line.decode(errors="replace").rstrip("\r")
            child.lines = [*child.lines[-40:], text]
            self.say(text, name=child.name)
        return more

    def _note_end(self, child: Child) -> None:
        assert child.process
        assert child.process.stdout
        end_group(child.process.pid, signal.SIGKILL)  # what it started ends with it
        while not child.process.stdout.closed:
            if not self._show(child) and not child.process.stdout.closed:
                # Something left its session and still holds the pipe: do not wait for that.
                self._selector.unregister(child.process.stdout)
                child.process.stdout.close()
        self._tell_guard(f"-{child.process.pid}")
        child.exit_code = child.process.returncode
        child.process = None
        if self.stopping or child.once:
            return
        now = time.monotonic()
        steady = now - child.started_at >= STEADY_AFTER_S
        child.quick_ends = 0 if steady else child.quick_ends + 1
        delay = min(self.delay_s * 2 ** max(child.quick_ends - 1, 0), LONGEST_DELAY_S)
        child.due_at = now + delay
        how = ending(child.exit_code)
        self.say(f"{child.name} {how}; it is started again in {delay:.0f} s.")
        if child.quick_ends == 5:
            self.say(
                f"{child.name} ended 5 times right after its start, the last time it {how}. "
                "What it said is above. It is tried again every "
                f"{LONGEST_DELAY_S:.0f} s; Ctrl-C stops all."
            )

    def _restart(self) -> None:
        for child in self.children.values():
            if child.process or child.once or self.stopping:
                continue
            if time.monotonic() >= child.due_at:
                self._spawn(child)

    def _end_all(self, hurry: Callable[[], bool]) -> None:
        """SIGTERM to every group, SIGKILL to what is left after a while or when hurried."""
        self.stopping = True
        running = [child for child in self.children.values() if child.process]
        for child in running:
            assert child.process
            end_group(child.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + self.stop_after_s
        while any(child.process for child in running):
            if hurry() or time.monotonic() >= deadline:
                for child in running:
                    if child.process:
                        end_group(child.process.pid, signal.SIGKILL)
                        child.process.wait()
            self._pump(0.05)
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    # --- the guard -------------------------------------------------------------------------------

    def _watch_over(self) -> None:
        """Start the guard, again if somebody ended it, and tell it every group there is."""
        if self._guard and self._guard.poll() is None:
            return
        program = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), "guard"]
        self._guard = subprocess.Popen(
            [*program, str(self.stop_after_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self.inherited,
        )
        for child in self.children.values():
            if child.process:
                self._tell_guard(f"+{child.process.pid}")

    def _tell_guard(self, line: str) -> None:
        if self._guard and self._guard.stdin:
            try:
                self._guard.stdin.write(f"{line}\n".encode())
                self._guard.stdin.flush()
            except OSError:
                pass  # it is gone; the next start of a child starts it again


def end_group(group: int, signum: int) -> None:
    """Send a signal to all processes of a group, if any is left."""
    try:
        os.killpg(group, signum)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a zombie's group
        pass


def ending(exit_code: int) -> str:
    """Say in words how a process ended."""
    if exit_code < 0:
        try:
            return f"was ended by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"was ended by signal {-exit_code}"
    return f"ended with exit code {exit_code}"


class Taken(Exception):
    """The lock is held by another process."""


def hold_lock(path: Path) -> int:
    """Lock the file for as long as its descriptor is open anywhere; return the descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Taken(path) from None
    return descriptor


def become(parent: int, parting: int, user: str, command: list[str]) -> None:
    """Bind this process to its parent's life and replace it by the command."""
    if user:
        import pwd

        entry = pwd.getpwnam(user)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, parting)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit(1)
    os.execvp(command[0], command)


def guard(stop_after_s: float) -> None:
    """Read `+group` and `-group` until the supervisor is gone, then end the groups left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        end_group(group, signal.SIGTERM)
    deadline = time.monotonic() + stop_after_s
    while groups and time.monotonic() < deadline:
        groups = {group for group in groups if alive(group)}
        time.sleep(0.05)
    for group in groups:
        end_group(group, signal.SIGKILL)


def alive(group: int) -> bool:
    """Say whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    if sys.argv[1] == "exec":
        become(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:])
    else:
        guard(float(sys.argv[2]))
