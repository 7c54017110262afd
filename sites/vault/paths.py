"""Decides which paths and link targets a snapshot may hold, for whoever unpacks it, on any system.

The portal never checks anything out. The paths are shown, put in archives and unpacked by people
on Linux, Windows and macOS, so a name is refused when any of them would take it elsewhere.

A backslash is a legal character of a Linux name (systemd's own unit files hold it), and refusing
it would fail whole backups. It is allowed, but every check is made a second time as Windows reads
the path: with the backslash as a separator.
"""

import re
from collections.abc import Mapping

from sites.vault.errors import UnsafePath

MAX_PATH_BYTES = 4096
MAX_PART_BYTES = 255
# Linux follows 40 links in one look-up and then gives up; so do we.
MAX_LINKS_FOLLOWED = 40

_SEPARATORS = re.compile(r"[/\\]")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DOTS = re.compile(r"(?:^|[/\\])\.\.? *(?:[/\\]|$)")
# NTFS reads these as .git too: its short name, a stream of it, dots and spaces after it.
_DOT_GIT = re.compile(r"(?:^|[/\\])(?:\.git|git~1)[ .]*(?:[/\\:]|$)", re.IGNORECASE | re.ASCII)
# What HFS+ leaves out when it compares names: ".g\u200cit" is ".git" to a Mac.
_IGNORED_BY_HFS = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)


def checked(path: str) -> bytes:
    """Give the UTF-8 bytes of a safe relative path; raise UnsafePath for any other."""
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        raise UnsafePath(path, "it is not valid Unicode") from None
    if not path:
        raise UnsafePath(path, "it is empty")
    if len(raw) > MAX_PATH_BYTES:
        raise UnsafePath(path, f"it is longer than {MAX_PATH_BYTES} bytes")
    if _CONTROL.search(path):
        raise UnsafePath(path, "it holds a control character")
    if path[0] in "/\\" or _DRIVE.match(path):
        raise UnsafePath(path, "it is absolute")
    if "//" in path or path[-1] == "/":
        raise UnsafePath(path, "it has an empty part")
    if len(raw) > MAX_PART_BYTES and max(map(len, raw.split(b"/"))) > MAX_PART_BYTES:
        raise UnsafePath(path, f"a part of it is longer than {MAX_PART_BYTES} bytes")
    # Windows drops trailing spaces: "a/.. /b" would climb.
    if _DOTS.search(path):
        raise UnsafePath(path, 'it has a "." or ".." part')
    if _DOT_GIT.search(path.translate(_IGNORED_BY_HFS)):
        raise UnsafePath(path, "it has a part that some system reads as .git")
    return raw


def check_link(path: str, links: Mapping[str, bytes]) -> None:
    """Raise UnsafePath when the link at `path` leads, or can be made to lead, out of the tree.

    `links` holds the target of every link of the tree by its path. Links on the way are followed
    as the system would: `a -> b/../..` is harmless where b is a folder, and leaves the tree where
    b is itself a link to the root. A target that does not exist, or a ring of links, stays inside.
    """
    here = path.split("/")[:-1]
    ahead = _parts(path, links[path])[::-1]
    followed = 1
    while ahead:
        part = ahead.pop()
        if part == "..":
            if not here:
                raise UnsafePath(path, "it is a link that leaves the tree")
            here.pop()
            continue
        here.append(part)
        target = links.get("/".join(here))
        if target is not None:
            followed += 1
            if followed > MAX_LINKS_FOLLOWED:
                return
            here.pop()
            ahead.extend(_parts(path, target)[::-1])


def _parts(path: str, raw: bytes) -> list[str]:
    """Split a link's target; raise UnsafePath when it is absolute or no text."""
    if not raw or len(raw) > MAX_PATH_BYTES:
        raise UnsafePath(path, f"it is a link whose target is not 1 to {MAX_PATH_BYTES} bytes long")
    try:
        target = raw.decode()
    except UnicodeDecodeError:
        raise UnsafePath(path, "it is a link whose target is not valid Unicode") from None
    if _CONTROL.search(target):
        raise UnsafePath(path, "it is a link whose target holds a control character")
    if target[0] in "/\\" or _DRIVE.match(target):
        raise UnsafePath(path, "it is a link to an absolute path")
    if "\\" in target and ".." in _SEPARATORS.split(target):
        raise UnsafePath(path, "it is a link that leaves the tree where a backslash separates")
    return [part for part in target.split("/") if part not in ("", ".")]
