"""What a person can tell the agent program on the command line."""

import json
import logging
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from yardmaster import __version__
from yardmaster.agent import config

app = typer.Typer(
    name="yardmaster",
    help="The agent that runs jobs at your sites and reports them to a Yardmaster portal.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
agent_app = typer.Typer(
    help="Enrol this machine at a portal, run its agent, see how it is.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(agent_app, name="agent")

Dir = Annotated[
    Path | None,
    typer.Option("--dir", help="The agent's folder [default: YARDMASTER_HOME or the user's state]"),
]
InsecureHttp = Annotated[
    bool,
    typer.Option(
        "--insecure-http",
        help="Accept plain http to another machine. Anyone on the way can then read the agent's"
        " token and everything that it backs up, and pose as the portal.",
    ),
]


def main() -> None:
    """Run the command line; an error is one line, and the exit status is 1."""
    app()


def _end(message: str, status: int = 1) -> typer.Exit:
    typer.echo(f"Error: {message}", err=True)
    return typer.Exit(status)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """The agent that runs jobs at your sites and reports them to a Yardmaster portal."""
    if version:
        typer.echo(f"yardmaster {__version__}")
        raise typer.Exit


@agent_app.command()
def enroll(
    url: Annotated[str, typer.Argument(help="The address from the portal, https://…/a/CODE")],
    code: Annotated[str, typer.Argument(help="The code, if the address does not hold it")] = "",
    name: Annotated[str, typer.Option(help="Another name than the portal's for it")] = "",
    folder: Dir = None,
    slots: Annotated[
        int | None, typer.Option(min=1, help="How many runs at a time at most, on this machine")
    ] = None,
    insecure_http: InsecureHttp = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Forget the enrolment that the folder holds")
    ] = False,
) -> None:
    """Enrol this machine with the line that the portal shows; the code works once."""
    from yardmaster.agent.enrolment import EnrolmentError, enrol

    try:
        enrolled = enrol(
            url,
            code,
            folder=folder or config.default_folder(),
            name=name,
            slots=slots,
            insecure_http=insecure_http,
            replace=replace,
        )
    except (EnrolmentError, config.ConfigError) as error:
        raise _end(str(error)) from None
    where = f"{enrolled.organization}, {enrolled.site or 'all sites'}"
    typer.echo(f"Enrolled as {enrolled.name} ({where}).")
    option = f" --dir {folder}" if folder else ""
    typer.echo(f"Start it with: yardmaster agent run{option}")


@agent_app.command()
def run(
    folder: Dir = None,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that running work gets when told to stop")
    ] = 20.0,
    insecure_http: InsecureHttp = False,
) -> None:
    """Claim runs and carry them out until told to stop (Ctrl-C or SIGTERM; twice: at once)."""
    from yardmaster.agent import loop

    _log_to_stderr()
    try:
        status = loop.run(
            folder or config.default_folder(), grace_s=grace, insecure_http=insecure_http
        )
    except (config.ConfigError, ValueError, OSError) as error:
        raise _end(str(error)) from None
    raise typer.Exit(status)


@agent_app.command()
def status(
    folder: Dir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for a program.")] = False,
) -> None:
    """Show whether the agent runs, when it last heard of its portal, and what its spool holds."""
    from yardmaster.agent.status import gather

    try:
        found = gather(folder or config.default_folder())
    except config.ConfigError as error:
        raise _end(str(error)) from None
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        _show(found)


@agent_app.command()
def install(
    folder: Dir = None,
    for_user: Annotated[
        bool, typer.Option("--user", help="A service of this user instead of the system's.")
    ] = False,
    name: Annotated[str, typer.Option(help="The service's name")] = "yardmaster-agent",
    insecure_http: InsecureHttp = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the unit, and write nothing.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Write over a unit that says something else.")
    ] = False,
) -> None:
    """Write a systemd unit that keeps the enrolled agent running, and print it."""
    from yardmaster.agent import service

    try:
        unit = service.unit_for(
            folder or config.default_folder(),
            for_user=for_user,
            name=name,
            insecure_http=insecure_http,
        )
        if not dry_run:
            service.write(unit, replace=replace)
    except (service.InstallError, config.ConfigError, OSError, KeyError) as error:
        raise _end(str(error)) from None
    # What is for people goes beside the unit, which may be led into a file.
    typer.echo(f"{'This would be' if dry_run else 'Wrote'} {unit.path}:\n", err=True)
    typer.echo(unit.text, nl=False)
    starts = "\n".join(f"  {command}" for command in unit.commands)
    typer.echo(f"\nStart it with:\n{starts}", err=True)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    rows = [
        ("Agent", f"{found['name']} ({found['organization']}, {found['site'] or 'all sites'})"),
        ("Portal", found["portal"]),
        ("Running", f"yes, process {found['pid']}" if found["running"] else "no"),
        ("Last answer", _ago(found["last_answer_at"])),
    ]
    if found["last_error"]:
        rows.append(("Trouble", found["last_error"]))
    for run in found["runs"]:
        progress = "" if run["progress"] is None else f", {run['progress']} %"
        words = f"{run['id']} {run['what']} of {run['target']}: {run['stage']}{progress}"
        rows.append(("Run", words))
    spool = found["spool"]
    rows.append(("Spool", f"{spool['claims']} claims, {spool['results']} results not taken yet"))
    for title, value in rows:
        table.add_row(f"[bold]{title}[/bold]", escape(value))
    Console().print(table, soft_wrap=True)


def _ago(at: float | None) -> str:
    if at is None:
        return "never"
    seconds = max(0, round(time.time() - at))
    said = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(at))
    return f"{seconds} s ago ({said})"


class Lines(logging.Formatter):
    """Keeps a record on its line: what a tool said is not to look like the agent's own words.

    A traceback keeps its lines, each indented.
    """

    controls = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

    def _flat(self, text: str) -> str:
        return self.controls.sub(lambda one: one[0].encode("unicode_escape").decode(), text)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return self._flat(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return "\n".join(
            f"    {self._flat(one)}" for one in super().formatException(ei).split("\n")
        )


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("yardmaster")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
