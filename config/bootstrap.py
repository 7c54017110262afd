"""Decides whether this Python has what the project needs, and else makes and enters `.venv`.

It runs before anything is installed, so it uses the standard library alone. What it does:

1. A Python that has every package at its locked version is used as it is.
2. Else `.venv` in the project's folder is made with this Python, and `requirements/<name>.lock`
   is installed into it, hashes checked. A stamp with the lock's hash is written last: when the
   lock changes, the next start installs again.
3. This process is replaced by the same command line under `.venv/bin/python`.

A mark lies in `.venv` while pip is at work. Whoever finds it with nobody working knows that an
installation was cut off, and starts from an empty environment. Two starts at once wait for
each other.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
# The first line of each package in a lock.
ENTRY = re.compile(r"^[A-Za-z0-9._-]+(?:\[[^]]*\])?==", re.MULTILINE)
# What is installed when a lock is: the development lock holds all of the portal's.
COVERS = {"portal": ("portal",), "dev": ("portal", "dev")}


def enter_environment(name: str, root: Path = ROOT) -> None:
    """Return when the running Python has what `<name>.lock` names, else re-run inside `.venv`.

    Does not return when another Python is needed: the process is replaced, or ends with one
    line that says what to do.
    """
    venv = root / ".venv"
    inside = Path(sys.prefix).resolve() == venv.resolve()
    if inside and is_stamped(venv, root, name):
        return
    # Without a stamp it may still be somebody's own environment, ours made by hand included.
    half_made = inside and unfinished_mark(venv).exists()
    if not half_made and has_locked_versions(lock_path(root, name)):
        return
    make_environment(venv, root, name)
    python = str(venv / "bin" / "python")
    os.execv(python, [python, *sys.orig_argv[1:]])


def lock_path(root: Path, name: str) -> Path:
    """Return the file that pins the packages of this name."""
    return root / "requirements" / f"{name}.lock"


def unfinished_mark(venv: Path) -> Path:
    """Return the file that lies in the environment while pip is at work in it."""
    return venv / "yardmaster-unfinished"


def lock_hash(root: Path, name: str) -> str:
    """Return the hash that changes whenever another set of packages is pinned."""
    return hashlib.sha256(lock_path(root, name).read_bytes()).hexdigest()


def is_stamped(venv: Path, root: Path, name: str) -> bool:
    """Say whether the environment was completely installed from the present lock.

    Called from inside the environment it also sees that its Python was replaced by another
    version (a system upgrade), whose packages would lie in another folder.
    """
    try:
        stamp = json.loads((venv / "yardmaster-stamp.json").read_text())
    except (OSError, ValueError):
        return False
    inside = Path(sys.prefix).resolve() == venv.resolve()
    return (
        not unfinished_mark(venv).exists()
        and os.access(venv / "bin" / "python", os.X_OK)
        and stamp.get(name) == lock_hash(root, name)
        and (not inside or stamp.get("python") == list(sys.version_info[:2]))
    )


def has_locked_versions(lock: Path) -> bool:
    """Say whether every package of the lock is importable here at its locked version.

    A package that the lock names under a condition (`; sys_platform == …`) may be absent.
    """
    wanted: dict[str, set[str]] = {}
    conditional = set()
    for line in lock.read_text().splitlines():
        if found := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)\s*(;?)", line):
            wanted.setdefault(found[1], set()).add(found[2])
            if found[3]:
                conditional.add(found[1])
    for package, versions in wanted.items():
        try:
            if importlib.metadata.version(package) not in versions:
                return False
        except importlib.metadata.PackageNotFoundError:
            if package not in conditional:
                return False
    return True


def make_environment(venv: Path, root: Path, name: str) -> None:
    """Make the environment if it is absent or broken, and install the lock into it.

    Safe to run twice at once: the second waits, then finds the stamp.
    """
    with only_one(lock_path(root, "portal")):
        if is_stamped(venv, root, name):
            return
        python = venv / "bin" / "python"
        if unfinished_mark(venv).exists() or not works(python):
            create(venv)
        install(venv, root, name)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the file's lock, which the system lets go when this process ends in whatever way."""
    try:
        import fcntl
    except ImportError:
        sys.exit(
            "Yardmaster and its agents run on Linux and macOS. On Windows start them inside WSL."
        )
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another start is installing what Yardmaster needs; waiting for it …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def works(python: Path) -> bool:
    """Say whether this environment's Python starts, is new enough and has its pip."""
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11) or sys.prefix != sys.argv[1])"
    command = [str(python), "-c", probe, str(python.parent.parent)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def create(venv: Path) -> None:
    """Make an empty environment with pip in it, whatever lay there before."""
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit(
            f"Python {version} ({sys.executable}) comes without venv and ensurepip, which "
            "Yardmaster needs to make its environment. Install them (Debian and Ubuntu: "
            "apt install python3-venv) and start again."
        )
    # Running inside the old environment, its own python is about to be removed.
    base = getattr(sys, "_base_executable", None) or sys.executable
    try:
        if venv.exists():
            unfinished_mark(venv).touch()
        subprocess.run(
            [os.path.realpath(base), "-m", "venv", "--clear", str(venv)],
            check=True,
            capture_output=True,
            text=True,
        )
    except OSError as error:
        sys.exit(f"The environment {venv} cannot be made: {error.strerror}.")
    except subprocess.CalledProcessError as error:
        sys.exit(f"The environment {venv} cannot be made: {last_words(error)}")


def install(venv: Path, root: Path, name: str) -> None:
    """Install the lock with pip, telling in one line how far it is, and stamp it as complete."""
    python = str(venv / "bin" / "python")
    lock = lock_path(root, name)
    mark = unfinished_mark(venv)
    # One pip has fetched and checked all that it installs before it changes anything: so the old
    # version goes on when an upgrade fails. Where there is none, two take half the time.
    new = not (venv / "yardmaster-stamp.json").exists()
    try:
        mark.touch()
        parts = shares(lock, venv) if new else [lock]
    except OSError as error:
        sys.exit(f"The environment {venv} cannot be written: {error.strerror}.")
    total = sum(len(ENTRY.findall(part.read_text())) for part in parts)
    title = "Installing what Yardmaster needs, once, about a minute …"
    seen = 0
    began = time.monotonic()
    said: list[str] = []
    errors: list[str] = []
    say(title, end="")
    command = [python, "-m", "pip", "install", "--require-hashes", "--no-input"]
    # The lock names whatever is needed by what it names.
    command += ["--no-deps", "--disable-pip-version-check", "--progress-bar", "off"]
    # Tests import some of it, once; services start again and again, and may not write here.
    command += ["--no-compile"] if name == "dev" else []
    reading, writing = os.pipe()
    pips = [
        subprocess.Popen([*command, "-r", str(part)], stdout=writing, stderr=writing)
        for part in parts
    ]
    os.close(writing)
    try:
        with open(reading, errors="replace") as lines:
            for line in lines:
                said = [*said[-200:], line.rstrip()]
                if line.startswith("ERROR:"):
                    errors.append(line.rstrip())
                if line.startswith(("Collecting ", "Requirement already satisfied:")):
                    seen = min(seen + 1, total)
                    if sys.stderr.isatty():
                        say(f"\r{title} {seen} of {total}", end="")
        ended = [pip.wait() for pip in pips]
        if any(ended):
            say("")
            why = errors or [*said[-1:], f"pip ended with {max(ended, key=abs)}."]
            sys.exit("\n".join([f"pip could not install {lock.relative_to(root)}:", *why]))
    except KeyboardInterrupt:
        for pip in pips:
            pip.wait()
        say("")
        sys.exit("Stopped. The next start installs again.")
    say(f"\r{title} done in {time.monotonic() - began:.0f} s." if sys.stderr.isatty() else " done.")
    stamp: dict[str, object] = {other: lock_hash(root, other) for other in COVERS[name]}
    version = "import sys; print(*sys.version_info[:2])"
    answer = subprocess.run([python, "-c", version], check=True, capture_output=True, text=True)
    stamp["python"] = [int(part) for part in answer.stdout.split()]
    partial = venv / "yardmaster-stamp.part"
    partial.write_text(json.dumps(stamp))
    partial.replace(venv / "yardmaster-stamp.json")
    for part in venv.glob("yardmaster-share-*.lock"):
        part.unlink()
    mark.unlink()


def shares(lock: Path, folder: Path) -> list[Path]:
    """Deal the lock's packages out to two files, since one pip keeps no more than one core busy.

    What stands before the first package, such as where to look for them, stands in both.
    """
    text = lock.read_text()
    starts = [found.start() for found in ENTRY.finditer(text)]
    entries = [text[at:end] for at, end in zip(starts, [*starts[1:], None], strict=True)]
    parts = []
    for number in range(min(2, len(entries))):
        parts.append(folder / f"yardmaster-share-{number}.lock")
        parts[-1].write_text(text[: starts[0]] + "".join(entries[number::2]))
    return parts


def last_words(error: subprocess.CalledProcessError) -> str:
    """Return the last line that a failed command said."""
    lines = f"{error.stdout}\n{error.stderr}".strip().splitlines()
    return lines[-1] if lines else f"exit code {error.returncode}."


def say(text: str, end: str = "\n") -> None:
    """Tell the person at the terminal, beside whatever the command itself prints."""
    print(text, end=end, file=sys.stderr, flush=True)
