"""The tool `folder`: it backs up the files of a folder on the agent's machine."""

import os
import platform
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yardmaster.sdk import Context, Failed, Outcome, SourceChanged, function, tool
from yardmaster.tools.patterns import BadPattern
from yardmaster.tools.scan import Rules, Scan, scan_folder
from yardmaster.tools.statcache import StatCache
from yardmaster.tools.summary import number, outcome_of, size_in_words, tell

# How often the folder is read again when a file changes between being read and being sent.
READINGS = 3
MEGABYTE = 1_000_000
PARAMETERS: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "path": {
            "type": "string",
            "title": "Folder",
            "description": "Absolute path on the agent's machine, for a target without address.",
        },
        "include": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "title": "Only these",
            "description": "Patterns such as *.conf or plc/**/*.xml. Empty: everything.",
        },
        "exclude": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "default": [],
            "title": "Leave out",
            "description": "Patterns such as *.tmp, cache or logs/**. They win over “Only these”.",
        },
        "max_file_mb": {
            "type": "number",
            "exclusiveMinimum": 0,
            "title": "Largest file (MB)",
            "description": "Larger files are left out and named in the log. Empty: no limit.",
        },
    },
}


@tool(name="folder", version="1.0")
class Folder:
    """Files and links below one folder."""

    @function(title="Back up a folder", produces="snapshot", parameters=PARAMETERS)
    def backup(self, context: Context) -> Outcome:
        """Send the folder's present files as a snapshot.

        Fails when anything in it cannot be read: a backup that silently lacks a file is worse
        than none.
        """
        root = _root(context)
        rules = _rules(context)
        scope = f"1 {root} {rules.object_bytes}"
        cache = StatCache(context.cache_folder / "files.sqlite3", scope)
        for _ in range(READINGS):
            scan = _read(context, root, rules, cache)
            try:
                answer = context.snapshot(scan)
            except SourceChanged as changed:
                context.log(f"{changed} Reading the folder again.")
            else:
                return outcome_of(scan, answer)
        raise Failed(
            f"Files in {root} kept changing while they were sent.",
            f"The folder was read {READINGS} times, and each time a file was different when it was"
            " sent. Exclude files that are written all the time, or back up at a quieter time.",
        )


def _root(context: Context) -> Path:
    address, path = context.target.address.strip(), context.parameters.get("path") or ""
    if address and path and Path(address) != Path(path):
        raise Failed(
            f"The target's address is {address}, but the job's folder is {path}.",
            "Leave the parameter “path” empty, or give the target no address.",
        )
    root = Path(address or path)
    if not (address or path):
        raise Failed("No folder was named.", "Give the target an address, such as /srv/plc.")
    if not root.is_absolute():
        raise Failed(f"{root} is not an absolute path.", "Write it from the root: /srv/plc.")
    where = f"on {platform.node() or 'the agent’s machine'}"
    try:
        if not root.is_dir():
            words = "is not a folder" if root.exists() else "does not exist"
            raise Failed(f"{root} {words} {where}.")
        os.scandir(root).close()
    except OSError as error:
        raise Failed(f"{root} cannot be read {where}: {error.strerror or error}.") from None
    return root


def _rules(context: Context) -> Rules:
    parameters = context.parameters
    largest = parameters.get("max_file_mb")
    if largest is not None and (
        isinstance(largest, bool) or not isinstance(largest, int | float) or largest <= 0
    ):
        raise Failed("The parameter “max_file_mb” has to be a number above 0.")
    try:
        return Rules.of(
            _globs(parameters, "include"),
            _globs(parameters, "exclude"),
            None if largest is None else int(largest * MEGABYTE),
            context.object_bytes,
            context.private_folder,
        )
    except BadPattern as error:
        raise Failed(str(error)) from None


def _globs(parameters: Mapping[str, Any], name: str) -> list[str]:
    value = parameters.get(name) or []
    if not isinstance(value, list) or not all(isinstance(glob, str) for glob in value):
        raise Failed(f"The parameter “{name}” has to be a list of patterns.")
    return value


def _read(context: Context, root: Path, rules: Rules, cache: StatCache) -> Scan:
    known = cache.load()
    try:
        scan = scan_folder(root, rules, known, context.check)
    except OSError as error:
        raise Failed(f"{root} cannot be read: {error.strerror or error}.") from None
    try:
        cache.save(known, scan.known)
    except (sqlite3.Error, OSError) as error:
        context.warn(f"The agent's own cache cannot be written, so backups are slower: {error}")
    tell(context, scan, str(root))
    context.log(
        f"{root}: {number(len(scan.entries), 'file')}, {size_in_words(scan.bytes)};"
        f" {scan.files_read} read, the rest unchanged since the last time."
    )
    context.progress(15)
    return scan
