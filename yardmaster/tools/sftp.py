"""The tool `sftp`: it backs up a folder of an SSH server."""

from typing import Annotated
from urllib.parse import unquote, urlsplit

from yardmaster.sdk import Context, Failed, Field, Outcome, function, tool
from yardmaster.tools.patterns import BadPattern, compile_patterns
from yardmaster.tools.places import Place, Server
from yardmaster.tools.scan import Scan
from yardmaster.tools.summary import send_fetched

MEGABYTE = 1_000_000


@tool(name="sftp", version="1.0")
class Sftp:
    """Files and links below one folder of an SSH server."""

    @function(title="Back up a folder by SFTP", produces="snapshot", credentials=True)
    def backup(
        self,
        context: Context,
        path: Annotated[
            str,
            Field("Folder", "On the server; for a target whose address names none."),
        ] = "",
        include: Annotated[
            list[str] | None,
            Field("Only these", "Patterns such as *.conf or plc/**/*.xml. Empty: everything."),
        ] = None,
        exclude: Annotated[
            list[str] | None,
            Field("Leave out", "Patterns such as *.tmp or logs/**. They win over “Only these”."),
        ] = None,
        max_file_mb: Annotated[
            float | None,
            Field("Largest file (MB)", "Larger files are left out.", exclusiveMinimum=0),
        ] = None,
        fingerprint: Annotated[
            str,
            Field("Fingerprint", "Of the server's host key, SHA256:…, unless the agent knows it."),
        ] = "",
    ) -> Outcome:
        """Read the folder and keep it as a snapshot.

        The server's host key is checked before anything is sent. Fails when anything in the folder
        cannot be read: a backup that silently lacks a file is worse than none.
        """
        # Here, since loading the SSH library takes as long as all the rest of an agent's start.
        from yardmaster.tools.sftp_walk import Walk, logged_in

        place = _place(context.target.address, path)
        try:
            rules = (
                compile_patterns(include) if include else None,
                compile_patterns(exclude) if exclude else None,
            )
        except BadPattern as error:
            raise Failed(str(error)) from None
        limit = None if max_file_mb is None else int(max_file_mb * MEGABYTE)
        with (
            logged_in(context, place, fingerprint) as client,
            context.temporary_folder() as root,
        ):
            walk = Walk(context, client, Scan(root), *rules, limit)
            walk.start(place)
            where = f"{place.server.known_as}:{place.path}"
            return send_fetched(context, walk.scan, where)


def _place(address: str, path: str) -> Place:
    """Return where to go: `host`, `host:port` or `sftp://user@host:port/folder`."""
    written = address.strip()
    try:
        parts = urlsplit(written if "://" in written else f"sftp://{written}")
        host, port = parts.hostname or "", parts.port or 22
    except ValueError:
        host, port = "", 0
    if not host or parts.scheme not in {"sftp", "ssh"}:
        raise Failed(
            f"The target's address {written!r} is no SSH server."
            if written
            else "The target has no address.",
            "Write it as plc.example, plc.example:2222 or sftp://user@plc.example/folder.",
        )
    if parts.password is not None:
        raise Failed("The target's address holds a password.", "Put it into the credentials.")
    named = unquote(parts.path).rstrip("/")
    if named and path and path.rstrip("/") != named:
        raise Failed(
            f"The target's folder is {named}, but the job's is {path}.",
            "Leave the parameter “path” empty, or give the target's address no folder.",
        )
    # Without either it is the folder that the server shows who logs in.
    return Place(Server(host, port), unquote(parts.username or ""), named or path or ".")
