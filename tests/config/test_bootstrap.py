"""The environment that manage.py makes and enters, with a real pip and a package of our own."""

import ast
import hashlib
import json
import runpy
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from config import bootstrap

pytestmark = pytest.mark.once

PROJECT = Path(__file__).resolve().parents[2]
BASE_PYTHON = str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


def wheel(folder: Path, version: str) -> str:
    """Make a package that knows its version; return its line for a lock."""
    path = folder / f"yardtoy-{version}-py3-none-any.whl"
    about = f"yardtoy-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("yardtoy.py", f"VERSION = {version!r}\n")
        file.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: yardtoy\nVersion: {version}\n"
        )
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")
    return f"yardtoy=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose only requirement lies beside it."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "wheels").mkdir()
    lock(tmp_path, "1.0")
    (tmp_path / "start.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(PROJECT / 'config')!r})\n"
        "from bootstrap import enter_environment\n"
        "enter_environment('portal', Path(__file__).parent)\n"
        "import yardtoy\n"
        "print(yardtoy.VERSION, sys.prefix, *sys.argv[1:])\n"
    )
    return tmp_path


def lock(project: Path, version: str, name: str = "portal") -> None:
    """Pin the project's one requirement."""
    line = wheel(project / "wheels", version)
    folder = (project / "wheels").as_uri()
    (project / "requirements" / f"{name}.lock").write_text(
        f"--no-index\n--find-links {folder}\n{line}\n"
    )


def start(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Start the project the way a person does, with the machine's own Python."""
    command = [BASE_PYTHON, str(project / "start.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_environment_is_made_once_kept_and_follows_the_lock(project: Path) -> None:
    # Two at once install once.
    with ThreadPoolExecutor() as pool:
        starts = list(pool.map(lambda _: start(project, "up", "--port", "1"), range(2)))
    for done in starts:
        assert done.stdout.split() == ["1.0", str(project / ".venv"), "up", "--port", "1"], (
            done.stderr
        )
    assert sorted(done.stderr for done in starts) == [
        "Another start is installing what Yardmaster needs; waiting for it …\n",
        "Installing what Yardmaster needs, once, about a minute … done.\n",
    ]

    # Nothing is left in it of how it was made.
    ours = [path.name for path in (project / ".venv").glob("yardmaster-*")]
    assert ours == ["yardmaster-stamp.json"]
    assert start(project).stderr == ""

    lock(project, "2.0")
    changed = start(project)
    assert changed.stdout.startswith("2.0 ")
    assert changed.stderr.startswith("Installing")
    assert start(project).stderr == ""

    path = project / "requirements" / "portal.lock"
    right = path.read_text()
    wheel(project / "wheels", "3.0")
    path.write_text(right.replace("yardtoy==2.0", "yardtoy==3.0"))  # with the hash of 2.0
    refused = start(project)
    assert refused.returncode == 1
    assert "pip could not install requirements/portal.lock:" in refused.stderr
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert "Traceback" not in refused.stderr
    path.write_text(right)

    # That was cut off while pip was at work. A lost file is what pip alone would not notice.
    assert bootstrap.unfinished_mark(project / ".venv").exists()
    next((project / ".venv").rglob("yardtoy.py")).unlink()
    assert start(project).stdout.startswith("2.0 ")

    # Made by another Python, it is made again.
    stamp = project / ".venv" / "yardmaster-stamp.json"
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "python": [3, 10]}))
    (packages,) = (project / ".venv" / "lib").glob("python3*")
    packages.rename(packages.with_name("python3.10"))
    again = start(project)
    assert again.stdout.startswith("2.0 ")
    assert again.stderr.startswith("Installing")
    # And so it is when that Python was removed: no start asks more than these two.
    venv = project / ".venv"
    assert bootstrap.is_stamped(venv, project, "portal")
    assert bootstrap.works(venv / "bin" / "python")
    (venv / "bin" / "python").unlink()
    assert not bootstrap.is_stamped(venv, project, "portal")
    assert not bootstrap.works(venv / "bin" / "python")


def test_python_without_ensurepip_is_told_what_to_install(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = bootstrap.importlib.util.find_spec
    monkeypatch.setattr(
        bootstrap.importlib.util,
        "find_spec",
        lambda name: None if name == "ensurepip" else find(name),
    )
    with pytest.raises(SystemExit) as end:
        bootstrap.enter_environment("portal", project)
    assert "apt install python3-venv" in str(end.value.code)
    assert "\n" not in str(end.value.code)
    assert not (project / ".venv").exists()


def test_environment_that_has_everything_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    django = bootstrap.importlib.metadata.version("django")
    pinned = f"django=={django} \\\n    --hash=sha256:0\n"
    absent = "no-such-package==1 ; sys_platform == 'elsewhere' \\\n"
    (tmp_path / "requirements" / "portal.lock").write_text(pinned + absent)
    bootstrap.enter_environment("portal", tmp_path)
    assert not (tmp_path / ".venv").exists()


def test_old_python_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    path = PROJECT / "manage.py"
    ast.parse(path.read_text(), feature_version=(3, 4))
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    monkeypatch.setattr(sys, "argv", ["manage.py", "up"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert "needs Python 3.11 or newer" in str(end.value.code)
    assert "is Python 3.10." in str(end.value.code)
