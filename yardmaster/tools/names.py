"""Which names and link targets a portal takes into a snapshot.

A snapshot may be unpacked on any system, so a name is refused where Linux, Windows or macOS would
read it as something else. The portal decides; knowing its rules here gives a clear line in the log
instead of a refused snapshot.
"""

import re
from collections.abc import Mapping

LONGEST_PATH = 4096
LONGEST_NAME = 255
# Linux gives up after 40 links in one look-up.
LINKS_FOLLOWED = 40
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SEPARATORS = re.compile(r"[/\\]")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
# What macOS leaves out when it compares names.
_UNSEEN_BY_MACOS = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)


def is_text(name: str) -> bool:
    """Return whether a name from the file system is UTF-8 without control characters."""
    if name.isprintable():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return _CONTROL.search(name) is None


def is_gits_own(name: str) -> bool:
    """Return whether some system reads a name as `.git`."""
    if "git" not in name.casefold() and name.isascii():
        return False
    for part in name.split("\\"):
        plain = part.translate(_UNSEEN_BY_MACOS).lower()
        if plain.split(":", 1)[0].rstrip(" .") in {".git", "git~1"}:
            return True
    return False


def why_refused(name: str, path: str) -> str:
    """Return why a name cannot be kept, or nothing when it can."""
    if not is_text(name):
        return "its name is not UTF-8 or contains control characters"
    if len(path) > LONGEST_NAME and len(path.encode()) > LONGEST_PATH:
        return f"its path is longer than {LONGEST_PATH} bytes"
    if "\\" in name:
        if name.startswith("\\") or (name == path and _DRIVE.match(name)):
            return "its name is an absolute path on Windows"
        if any(part.rstrip(" ") in {".", ".."} for part in name.split("\\")):
            return "its name leads to another folder on Windows"
    if name.endswith(" ") and name.rstrip(" ") in {".", ".."}:
        return "its name leads to another folder on Windows"
    if path.endswith(f"/{name}") and _DRIVE.match(path):
        return "its path is an absolute path on Windows"
    return ""


def leaves_tree(path: str, links: Mapping[str, str]) -> bool:
    """Return whether the link at `path` leads out of the tree, also by way of other links.

    `links` holds where each link of the tree points to. A target that does not exist, or a ring
    of links, stays inside.
    """
    if _is_bad_target(links[path]):
        return True
    here = path.split("/")[:-1]
    ahead = links[path].split("/")[::-1]
    followed = 1
    while ahead:
        name = ahead.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            if not here:
                return True
            here.pop()
            continue
        here.append(name)
        further = links.get("/".join(here))
        if further is not None:
            followed += 1
            if followed > LINKS_FOLLOWED:
                return False
            if _is_bad_target(further):
                return True
            here.pop()
            ahead.extend(further.split("/")[::-1])
    return False


def _is_bad_target(target: str) -> bool:
    if not is_text(target) or target[:1] in {"/", "\\"} or _DRIVE.match(target):
        return True
    if len(target.encode()) > LONGEST_PATH:
        return True
    return "\\" in target and ".." in _SEPARATORS.split(target)
