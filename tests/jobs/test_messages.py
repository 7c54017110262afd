"""What a commit message says of changes, and what it never shows."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.messages import SUBJECT, message_of
from sites.vault import FileChange, Options, TextDiff
from sites.vault.diff import diff_texts

pytestmark = pytest.mark.once

Told = tuple[FileChange, TextDiff | None]


def text(path: str, old: str | None, new: str | None, **more: Any) -> Told:
    """A change of a text, as the vault tells it."""
    change = changed(path, old, new, **more)
    diff = diff_texts(old or "", new or "", path=path, options=Options(context=12))
    return change, diff


def changed(
    path: str, old: str | None, new: str | None, *, was: str = "", mode: str = "100644"
) -> FileChange:
    status = "modified"
    if old is None or new is None:
        status = "added" if old is None else "removed"
    elif was:
        status = "renamed"
    elif old == new:
        status = "mode"
    return FileChange(
        status,
        None if old is None else was or path,
        None if new is None else path,
        None if old is None else len(old),
        None if new is None else len(new),
        "100644",
        mode,
        old != new,
    )


def message(*told: Told, **more: Any) -> str:
    return message_of([one for one, _ in told], {one.path: d for one, d in told if d}, **more)


@pytest.mark.parametrize(
    ("path", "old", "new", "subject"),
    [
        ("plc/main.st", "limit : INT := 10;", "limit : INT := 20;", "Change the limit in main.st"),
        ("main.st", "Max AT %MW1 : INT := 1;", "Max AT %MW1 : INT := 2;", "Change Max in main.st"),
        ("a.json", '{\n "limit": 1\n}', '{\n "limit": 2\n}', "Change the limit in a.json"),
        ("a.xml", "<limit u='A'>1</limit>", "<limit u='A'>2</limit>", "Change the limit in a.xml"),
        ("a.xml", '<p id="1" v="1"/>', '<p id="1" v="2"/>', "Change v in a.xml"),
        ("a.csv", "id,v\npump,1", "id,v\npump,2", "Change the row pump in a.csv"),
        ("r.cfg", "port speed 100", "port speed 10", "Change the port speed in r.cfg"),
        ("a.ini", "a_1=1\nb_1=2", "a_1=2\nb_1=3", "Change a_1 and b_1 in a.ini"),
        ("a.ini", "a=1\nb=1\nc=1", "a=2\nb=2\nc=2", "Change 3 values in a.ini"),
        ("a.txt", "one", "one\ntwo\nthree", "Add 2 lines to a.txt"),
        ("a.txt", "one\ntwo", "one", "Remove 1 line from a.txt"),
        ("a.txt", "(one", "(two\n(three", "Change 2 lines in a.txt"),
        ("a.txt", "a b", "a  b", "Change white space in a.txt"),
        ("a.txt", "a\r\nb\n", "a\nb\n", "Change white space in a.txt"),
        ("a.txt", "a", "a\n", "Change the end of a.txt"),
        ("a.txt", None, "one", "Add a.txt"),
        ("a.txt", "one", None, "Remove a.txt"),
    ],
)  # fmt: skip
def test_the_subject_of_one_file(path: str, old: str | None, new: str | None, subject: str) -> None:
    assert message(text(path, old, new)).split("\n")[0] == subject


def test_a_change_reads_as_a_person_would_write_it() -> None:
    told = message(
        text("plc/main.st", "x := 1;\nlimit : INT := 10;\n", "x := 1;\nlimit : INT := 20;\n"),
        text("access.txt", None, "guest\nadmin\n"),
    )
    assert told == (
        "Change the limit in main.st, add access.txt\n"
        "\n"
        "plc/main.st: 1 line changed\n"
        "− limit : INT := 10;\n"
        "+ limit : INT := 20;\n"
        "access.txt: added, 2 lines\n"
        "+ guest\n"
        "+ admin"
    )


def test_a_line_that_is_added_and_a_file_that_is_added_are_two_things() -> None:
    told = message(text("main.st", "a\n", "a\nb\n"), text("notes.txt", None, "new\n"))
    assert told.startswith("Add 1 line to main.st, add notes.txt\n")


def test_renames_alone() -> None:
    assert message(
        text("lib/a.st", "one\n", "one\n", was="a.st"),
        text("new.st", "two\n", "two\n", was="old.st"),
    ) == (
        "Move a.st to lib, rename old.st to new.st\n"
        "\n"
        "a.st → lib/a.st: renamed\n"
        "old.st → new.st: renamed"
    )


def test_what_is_no_text_is_told_by_its_size() -> None:
    picture = changed("logo.png", "x" * 900, "x" * 12_100), None
    script = changed("run.sh", "one", "one", mode="100755"), None
    assert message(picture, script) == (
        "Change logo.png, make run.sh executable\n"
        "\n"
        "logo.png: 900 bytes → 12.1 kB\n"
        "run.sh: now executable"
    )


@pytest.mark.parametrize(
    ("files", "subject"),
    [
        (["a/x.st", "b/y.st"], "Change x.st and y.st"),
        (["a/x.st", "b/x.st"], "Change a/x.st and b/x.st"),
        (["a/x.st", "a/y.st", "a/z.st", "a/b/u.st"], "Change 4 files in a"),
        ([f"{'long' * 9}-{n}.st" for n in range(3)], "Change 3 files"),
    ],
)
def test_the_subject_of_several_files(files: list[str], subject: str) -> None:
    assert message(*((changed(path, "a", "b"), None) for path in files)).startswith(f"{subject}\n")


def test_ten_thousand_files_make_a_short_message() -> None:
    files = [changed(f"plc/{n}.st", "a", "b") for n in range(9_950)]
    files += [changed(f"plc/new-{n}.st", None, "b") for n in range(50)]
    told = message_of(files, {})
    assert told.startswith("Change 9,950 files, add 50 in plc\n\nplc/0.st: 1 byte\n")
    assert told.endswith("\nand 9,988 more files: 9,938 changed, 50 added")
    assert len(told.split("\n")) == 15


def test_many_and_long_lines_are_cut() -> None:
    new = "\n".join(f"{n} {'x' * 300}" for n in range(50))
    told = message(text(f"{'deep/' * 40}a.txt", None, new)).split("\n")
    assert len(told[0]) <= SUBJECT
    assert told[-1] == "and 44 more lines"
    assert max(map(len, told)) <= 120
    assert message(text(f"{'n' * 200}.txt", "a", "b")).startswith("Change 1 file\n")


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("a.ini", "[db]\npassword = {}"),
        ("r.cfg", "snmp-server community {} RO"),
        ("a.json", '{{\n"api_key": "{}"\n}}'),
        ("a.json", '{{\n"tokens": [\n  "one",\n  "{}"\n]\n}}'),
        ("a.xml", "<password>{}</password>"),
        ("a.xml", "<password>\n{}\n</password>"),
        ("a.yml", "private_key: |\n  one\n  {}\n"),
        ("a.csv", "user,password,site\nedda,{},hall"),
        ("a.csv", "user;password;site\nedda;{};hall"),
        ("a.txt", "ftp://edda:{}@host/path"),
        ("k.pem", "-----BEGIN PRIVATE KEY-----\nabc\n{}\n-----END PRIVATE KEY-----"),
        ("a.txt", "the blob eyJhbGciOiJIUzI1{}NiIsInR5cCI6 of somebody"),
        ("a.txt", "known to the run: geheim-123 {}"),
    ],
)
def test_secrets_are_in_no_message(path: str, lines: str) -> None:
    old, new = lines.format("Hunter2old"), lines.format("Hunter2new")
    secrets = ["geheim-123", "Hunter2new", "Hunter2old"] if "known" in lines else []
    head = lines.split("\n", 1)[0].format("")
    told = message(text(path, old, new), secrets=secrets, heads={path: head})
    assert "Hunter2" not in told
    assert "geheim" not in told
    assert "••••" in told
    assert "site" not in lines or "hall" in told


def test_a_secret_in_a_name_is_hidden_also_where_the_name_is_cut() -> None:
    path = f"{'x' * 64}geheim-123.txt"
    assert "geheim" not in message(text(path, "a", "b"), secrets=["geheim-123"])
