"""What the tool `sftp` keeps of a folder on a real OpenSSH server, and when it refuses one."""

import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import paramiko
import pytest

from tests.yardmaster.conftest import StartAgent
from tests.yardmaster.portal import Portal
from tests.yardmaster.sshd import USER, KeyPair, Sshd, key_pair, sshd
from yardmaster.testkit import Report, run
from yardmaster.tools import sftp_walk as module
from yardmaster.tools.hostkeys import fingerprint_of
from yardmaster.tools.sftp import Sftp

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def keys() -> tuple[KeyPair, KeyPair, KeyPair]:
    """The user's key and the server's two."""
    return key_pair(), key_pair(), key_pair("ecdsa")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, keys: tuple[KeyPair, KeyPair, KeyPair]
) -> Iterator[Sshd]:
    user, *host = keys
    with sshd(tmp_path_factory.mktemp("sshd"), user, host) as running:
        yield running


@pytest.fixture
def agent(tmp_path: Path, server: Sshd) -> Path:
    """The folder of an agent that knows the server's newer key."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "known_hosts").write_text(server.known())
    return folder


def fingerprint(pair: KeyPair) -> str:
    kind = paramiko.Ed25519Key if "ed25519" in pair[1] else paramiko.ECDSAKey
    return fingerprint_of(kind.from_private_key(StringIO(pair[0])))


def back_up(server: Sshd, agent: Path, path: Path, **options: Any) -> Report:
    credentials = {"username": USER, "private_key": server.private_key}
    parameters = {"path": str(path), **options.pop("parameters", {})}
    options = {"address": server.address, "credentials": credentials, **options}
    return run(Sftp, "backup", parameters, folder=agent, **options)


def test_a_tree_with_its_links_and_modes(server: Sshd, agent: Path, plant: Path) -> None:
    (plant / "run.sh").write_text("#!/bin/sh\n")
    (plant / "run.sh").chmod(0o755)
    (plant / "large.bin").write_bytes(os.urandom(9_000_000))
    (plant / "plc" / "in").symlink_to("../readme.txt")
    (plant / "out").symlink_to("/etc/passwd")
    (plant / "up").symlink_to("plc/../../elsewhere")
    (plant / "a folder").symlink_to("plc")
    (plant / ".git").mkdir()
    (plant / ".git" / "config").write_text("x")
    os.mkfifo(plant / "pipe")
    report = back_up(server, agent, plant)
    assert report.status == "completed"
    assert report.snapshot == {
        "plc/main.st": b"PROGRAM main\n",
        "readme.txt": b"Line 1\n",
        "run.sh": b"#!/bin/sh\n",
        "large.bin": (plant / "large.bin").read_bytes(),
    }
    assert report.links == {"plc/in": "../readme.txt", "a folder": "plc"}
    assert report.counts == {"total": 10, "successful": 6, "failed": 0, "skipped": 4}
    for line in ("out: it is a link that leaves", "up: it is a link", "pipe: it is", ".git: git"):
        assert f"Warning: left out {line}" in report.log
    # The same tree as the tool `folder` makes of it where it lies.
    from yardmaster.tools.folder import Folder

    assert run(Folder, "backup", address=str(plant)).tree == report.tree
    assert list(agent.glob("tmp*")) == []


def test_include_exclude_and_the_largest_file(server: Sshd, agent: Path, plant: Path) -> None:
    (plant / "plc" / "main.bak").write_text("x")
    (plant / "plc" / "large.st").write_bytes(bytes(2_000_001))
    report = back_up(
        server,
        agent,
        plant,
        parameters={"include": ["plc"], "exclude": ["*.bak"], "max_file_mb": 2},
    )
    assert set(report.snapshot) == {"plc/main.st"}
    assert "plc/large.st: it has 2000001 bytes" in report.log


def test_the_folder_may_be_in_the_address(server: Sshd, agent: Path, plant: Path) -> None:
    address = f"sftp://{USER}@{server.address}{plant}"
    credentials = {"private_key": server.private_key}
    report = run(Sftp, "backup", address=address, credentials=credentials, folder=agent)
    assert set(report.snapshot) == {"plc/main.st", "readme.txt"}


def test_a_name_that_cannot_be_kept_fails_the_whole(server: Sshd, agent: Path, plant: Path) -> None:
    (plant / "bell\x07").write_text("x")
    report = back_up(server, agent, plant)
    assert (report.status, report.snapshot) == ("failed", None)
    assert "bell\\x07" in report.message
    (plant / "bell\x07").unlink()
    (plant / os.fsdecode(b"\xff")).write_text("x")
    report = back_up(server, agent, plant)
    assert "holds a name that is not UTF-8" in report.message


def test_a_changed_host_key_is_refused_before_anything_is_sent(
    tmp_path: Path, agent: Path, server: Sshd, plant: Path, keys: tuple[KeyPair, KeyPair, KeyPair]
) -> None:
    other = key_pair()
    log = tmp_path / "other"
    with sshd(log, keys[0], [other]) as changed:
        (agent / "known_hosts").write_text(
            server.known().replace(str(server.port), str(changed.port))
        )
        report = back_up(changed, agent, plant)
        assert (report.status, report.snapshot) == ("failed", None)
        assert report.message == (
            f"The host key of [127.0.0.1]:{changed.port} is not the key that this agent knows:"
            " the connection was refused."
        )
        assert f"ssh-ed25519 {fingerprint(other)}" in report.error
        assert f"\n{changed.known().strip()}" in report.error
        # The job's word does not stand over the owner's.
        told = {"fingerprint": fingerprint(other)}
        assert back_up(changed, agent, plant, parameters=told).status == "failed"
        assert "Accepted" not in (log / "log").read_text()
        (agent / "known_hosts").write_text(changed.known())
        assert back_up(changed, agent, plant, parameters=told).status == "completed"
        assert "Accepted publickey" in (log / "log").read_text()


def test_an_unknown_server_is_refused_with_its_fingerprint(
    server: Sshd, agent: Path, plant: Path, keys: tuple[KeyPair, KeyPair, KeyPair]
) -> None:
    (agent / "known_hosts").unlink()
    report = back_up(server, agent, plant)
    assert report.status == "failed"
    assert "does not know the host key" in report.message
    assert server.known().strip() in report.error
    assert any(fingerprint(pair) in report.message for pair in keys[1:])


@pytest.mark.parametrize("which", [1, 2])
def test_a_fingerprint_names_any_of_the_servers_keys(
    server: Sshd, agent: Path, plant: Path, keys: tuple[KeyPair, KeyPair, KeyPair], which: int
) -> None:
    (agent / "known_hosts").unlink()
    told = {"fingerprint": fingerprint(keys[which])}
    assert back_up(server, agent, plant, parameters=told).status == "completed"
    wrong = {"fingerprint": fingerprint(keys[0])}
    report = back_up(server, agent, plant, parameters=wrong)
    assert "is not the fingerprint of the job" in report.message


def test_the_other_kind_of_key_may_be_the_known_one(server: Sshd, agent: Path, plant: Path) -> None:
    (agent / "known_hosts").write_text(server.known(1))
    assert back_up(server, agent, plant).status == "completed"


def test_an_encrypted_key_and_its_passphrase(
    tmp_path: Path, agent: Path, plant: Path, keys: tuple[KeyPair, KeyPair, KeyPair]
) -> None:
    locked = key_pair(passphrase="open sesame")
    with sshd(tmp_path / "locked", locked, [keys[1]]) as server:
        (agent / "known_hosts").write_text(server.known())
        given = {"username": USER, "private_key": locked[0]}
        report = back_up(server, agent, plant, credentials=given)
        assert report.message == "The private key is encrypted, and no passphrase was given."
        given["passphrase"] = "open sesame"
        assert back_up(server, agent, plant, credentials=given).status == "completed"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"address": ""}, "The target has no address."),
        ({"address": "https://h"}, "is no SSH server."),
        ({"address": "sftp://u:p@h"}, "holds a password"),
        ({"address": "127.0.0.1:1"}, "cannot be reached"),
        ({"parameters": {"path": "/nonexistent"}}, "does not exist."),
        ({"parameters": {"path": "/etc/passwd"}}, "is not a folder."),
        ({"parameters": {"exclude": ["../x"]}}, "must not leave the folder"),
        ({"parameters": {"fingerprint": "MD5:1"}}, "is no fingerprint of a host key"),
        ({"credentials": {}}, "No user name for"),
        ({"credentials": {"username": USER}}, "No password and no private key"),
        ({"credentials": {"username": USER, "private_key": "x"}}, "key cannot be read"),
        ({"credentials": {"username": USER, "private_key": key_pair()[0]}}, "does not take the us"),
        ({"credentials": {"username": USER, "password": "p"}}, "does not take that way to log in"),
        ({"credentials": {"hosts": ["h"]}}, "The agent's own credentials are not for 127.0.0.1."),
    ],
)
def test_what_was_asked_for_wrongly_is_said(
    server: Sshd, agent: Path, plant: Path, options: dict[str, Any], words: str
) -> None:
    report = back_up(server, agent, plant, **options)
    assert report.status == "failed"
    assert words in report.message


def test_a_known_hosts_that_others_may_change_is_refused(
    server: Sshd, agent: Path, plant: Path
) -> None:
    (agent / "known_hosts").chmod(0o666)
    assert "may be changed by others" in back_up(server, agent, plant).message


def test_the_time_limit_closes_the_connection(
    server: Sshd, agent: Path, plant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A limit that is over when the first file is read: the server would go on for ever.
    (plant / "endless").symlink_to("/dev/zero")
    monkeypatch.setattr(module.st, "S_ISLNK", lambda mode: False)
    monkeypatch.setattr(module.st, "S_ISREG", lambda mode: True)
    report = back_up(server, agent, plant, time_limit_s=1.5)
    assert report.status == "stopped"


@pytest.mark.faults
def test_an_agent_backs_a_server_up_with_its_own_credentials(
    portal: Portal, server: Sshd, home: Path, plant: Path, start_agent: StartAgent
) -> None:
    (home / "known_hosts").write_text(server.known())
    kept = home / "credentials.toml"
    kept.touch(0o600)
    kept.write_text(
        f'[plc]\nusername = "{USER}"\nprivate_key = """{server.private_key}"""\n'
        'hosts = ["127.0.0.1"]\n'
    )
    run = portal.add(
        server.address, tool="sftp", parameters={"path": str(plant), "credentials": "plc"}
    )
    start_agent()
    portal.wait(lambda: run.result)
    assert run.result["message"] == "2 files, 20 bytes: 2 added"
    line = server.private_key.splitlines()[2]
    assert not any(line.encode() in body for body in portal.bodies)
