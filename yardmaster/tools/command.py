"""The tool `command`: it starts what the machine's owner allows, and nothing else."""

import codecs
import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from typing import Annotated

from yardmaster.agent.config import ConfigError
from yardmaster.owner import Command, allowed
from yardmaster.sdk import Context, Failed, Field, Outcome, function, tool

BLOCK = 64 * 1024
# How soon the work hears that it has to stop.
LOOK_EVERY_S = 0.2
# Between asking a command to end and ending it.
GRACE_S = 3.0
# What it gets of the agent's own environment: nothing that could hold a secret.
PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")


@tool(name="command", version="1.0")
class CommandTool:
    """Programs on the agent's machine, each allowed by name in its `agent.toml`."""

    @function(title="Run a command", produces="nothing")
    def run(
        self,
        context: Context,
        command: Annotated[
            str,
            Field("Command", "A name from the agent's own agent.toml.", minLength=1, maxLength=200),
        ],
        arguments: Annotated[
            list[str] | None,
            Field("Arguments", "Only what agent.toml allows after this command."),
        ] = None,
    ) -> Outcome:
        """Start an allowed command, write what it says to the log, and fail unless it ends with 0.

        Nothing goes through a shell: an argument is one argument whatever is in it.
        """
        chosen = _allowed(context, command, arguments or [])
        line = [*chosen.run, *(arguments or [])]
        started = time.monotonic()
        try:
            process = subprocess.Popen(
                line,
                cwd=chosen.folder,
                env={n: os.environ[n] for n in PASSED_ON if n in os.environ}
                | dict(chosen.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                # A group of its own, so that all it starts ends with it.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) else str(error)
            raise Failed(f"{chosen.run[0]} could not be started: {words}.") from None
        try:
            _follow(context, process)
        finally:
            _end_group(process)
        took = f"{time.monotonic() - started:.1f} s"
        if process.returncode:
            raise Failed(f"{command} {_ending(process.returncode)} after {took}; see the log.")
        return Outcome(f"{command} ended well after {took}.")


def _allowed(context: Context, name: str, arguments: list[str]) -> Command:
    """Return the command of that name, or raise Failed for what its owner does not allow."""
    try:
        commands = allowed(context.private_folder).commands
    except ConfigError as error:
        raise Failed("The agent's own agent.toml cannot be used.", str(error)) from None
    chosen = commands.get(name)
    if chosen is None:
        raise Failed(
            f"This agent does not allow a command “{name}”.",
            "The owner of the machine allows commands in the agent's agent.toml, each under"
            f" [commands.NAME]. Allowed here: {', '.join(sorted(commands)) or 'none'}.",
        )
    for argument in arguments:
        if not any(pattern.fullmatch(argument) for pattern in chosen.arguments):
            raise Failed(
                f"This agent does not allow the argument {argument!r} after “{name}”.",
                "An argument has to match one of the patterns under “arguments” of that command in"
                " the agent's agent.toml.",
            )
    return chosen


def _follow(context: Context, process: "subprocess.Popen[bytes]") -> None:
    """Write a process's output to the log until it has ended; raises Stopped at the time limit.

    What a process that it left behind still says is not waited for.
    """
    output = process.stdout
    assert output is not None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    os.set_blocking(output.fileno(), False)
    with output, selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        is_open = True
        last = "\n"
        while True:
            context.check()
            # Asked before reading: what it wrote before its end is in the pipe by then.
            ended = process.poll() is not None
            data = None
            if is_open and selector.select(0 if ended else LOOK_EVERY_S):
                data = output.read(BLOCK)
                if not data:
                    is_open = False
                    selector.unregister(output)
            elif not is_open and not ended:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_EVERY_S)
            if data:
                text = decoder.decode(data)
                context.log(text, end="")
                last = text[-1:] or last
            elif ended:
                break
        rest = decoder.decode(b"", final=True)
        if rest or last != "\n":
            context.log(rest)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it started, if any is left: asked first, then made to."""
    for signum, patience in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 0.0)):
        try:
            os.killpg(process.pid, signum)
        except ProcessLookupError:
            break
        except PermissionError:
            # All that is left of the group is a dead child that nobody has asked for yet (macOS),
            # or runs as another user by its own will.
            break
        until = time.monotonic() + patience
        while _lives(process) and time.monotonic() < until:
            time.sleep(0.02)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)


def _lives(process: "subprocess.Popen[bytes]") -> bool:
    """Return whether any process of the group is left; takes the exit status of the first."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except OSError:
        return False
    return True


def _ending(code: int) -> str:
    if code > 0:
        return f"ended with exit status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
