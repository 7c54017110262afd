"""What of this installation becomes the agent in one file, which needs Python and nothing else.

The file is a zip that Python runs (zipapp): the package `yardmaster` as it lies here, and the pure
Python packages that it depends on as they are installed here, found by their own metadata.
"""

from __future__ import annotations

import hashlib
import io
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from django.conf import settings
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAME = "yardmaster.pyz"
# The same content gives the same bytes, whenever the file is made.
_WHEN = (1980, 1, 1, 0, 0, 0)
_SKIPPED = frozenset({"__pycache__", "bin", "Scripts"})
# Parsed by any Python, so that an old one is told what is wrong.
_MAIN = b"""\
import sys

if sys.version_info < (3, 11):
    sys.exit("The Yardmaster agent needs Python 3.11 or newer, and this is an older one.")

from yardmaster.cli import main

main()
"""


class CannotBuild(Exception):
    """This installation lacks what the agent needs; the message says what."""


@dataclass(frozen=True)
class Download:
    """The file, and the SHA-256 of its bytes."""

    data: bytes
    sha256: str


@cache
def agent_file() -> Download:
    """Make the agent in one file; made once for the life of the process.

    Raises CannotBuild when a package is absent here or is not pure Python.
    """
    found = dict(_own_files())
    for package in _packages():
        found.update(_files_of(package))
    stream = io.BytesIO()
    stream.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(found):
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, found[name])
    data = stream.getvalue()
    return Download(data, hashlib.sha256(data).hexdigest())


def _own_files() -> Iterator[tuple[str, bytes]]:
    root = Path(settings.BASE_DIR)
    yield "__main__.py", _MAIN
    yield "LICENSE", (root / "LICENSE").read_bytes()
    for path in (root / "yardmaster").rglob("*.py"):
        yield path.relative_to(root).as_posix(), path.read_bytes()


def _packages() -> list[Distribution]:
    """Give what the agent depends on, and what that depends on, each once."""
    project = tomllib.loads((Path(settings.BASE_DIR) / "pyproject.toml").read_text("utf-8"))
    ahead = [Requirement(line) for line in project["project"]["dependencies"]]
    found: dict[str, Distribution] = {}
    while ahead:
        requirement = ahead.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        try:
            found[name] = package = distribution(name)
        except PackageNotFoundError:
            raise CannotBuild(
                f"The package {requirement.name} is not installed beside the portal."
            ) from None
        for line in package.requires or ():
            further = Requirement(line)
            if further.marker is None or further.marker.evaluate({"extra": ""}):
                ahead.append(further)
    return list(found.values())


def _files_of(package: Distribution) -> Iterator[tuple[str, bytes]]:
    """Give a package's files by their place in the zip, its licence and metadata among them."""
    name = package.metadata["Name"]
    if "Root-Is-Purelib: true" not in (package.read_text("WHEEL") or ""):
        raise CannotBuild(f"The package {name} is not pure Python.")
    for file in package.files or ():
        path = PurePosixPath(file)
        # Programs of its own lie outside, by way of “..”.
        if ".." in path.parts or path.suffix == ".pyc" or _SKIPPED & set(path.parts):
            continue
        yield str(path), file.read_binary()
