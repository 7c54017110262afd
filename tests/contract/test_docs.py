"""The documents say what the code does: addresses, codes, statuses, proofs, links."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from sites import files
from sites.vault import errors
from tests.contract import statuses_page
from tests.routes import routes

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "yardmaster/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FEATURES = {"S0": 28, "S1": 47, "S2": 15, "S3": 46, "S4": 19}
ID = re.compile(r"S[0-4]-\d\d")
# "S3-33 to S3-35" and "S0-15 … S0-22" name all between as well.
RANGE = re.compile(r"(S[0-4])-(\d\d) (?:to|…) \1-(\d\d)")


def test_the_page_of_statuses_is_the_table() -> None:
    assert statuses_page.PATH.read_text() == statuses_page.page(), (
        "docs/statuses.md differs from jobs/states.py. "
        "Print it again: python -m tests.contract.statuses_page"
    )


def features() -> list[list[str]]:
    """The cells of each row: id, feature, served by, proved by."""
    text = (ROOT / "docs" / "features.md").read_text()
    rows = [line.strip("|\n ").split(" | ") for line in text.splitlines() if line.startswith("| S")]
    assert all(len(row) == 4 for row in rows)
    return rows


@cache
def written_in(path: str) -> dict[str, str]:
    """The tests in a file, with what is written in each."""
    source = (ROOT / path).read_text()
    return {
        node.name: f"{node.name} {ast.get_docstring(node) or ''}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def ids_in(text: str) -> set[str]:
    """The ids that a text names, one by one or as a range."""
    found = set(ID.findall(text))
    for system, first, last in RANGE.findall(text):
        found |= {f"{system}-{number:02}" for number in range(int(first), int(last) + 1)}
    return found


def test_every_feature_is_listed_once() -> None:
    wanted = [f"{s}-{n:02}" for s, most in FEATURES.items() for n in range(1, most + 1)]
    assert [row[0] for row in features()] == wanted


def test_a_feature_is_proved_by_tests_that_name_it_or_said_not_to_be() -> None:
    missing, unnamed = [], []
    for feature, _, served, proved in features():
        if proved == "**not yet**":
            continue
        proofs = re.findall(r"`(tests/[^`\s]+\.py)::(\w+)`", proved)
        assert proofs, f"{feature} is neither proved nor said to be missing."
        assert served != "–", f"{feature} is proved and served nowhere."
        missing += [f"{feature}: {p}::{name}" for p, name in proofs if name not in written_in(p)]
        if not any(feature in ids_in(written_in(p).get(name, "")) for p, name in proofs):
            unnamed.append(feature)
    assert missing == []
    assert unnamed == [], "None of the tests that are to prove these names them."


def test_a_feature_that_a_test_names_is_not_said_to_be_missing() -> None:
    named = {
        one
        for path in (ROOT / "tests").rglob("test_*.py")
        for text in written_in(str(path.relative_to(ROOT))).values()
        for one in ids_in(text)
    }
    unproved = {row[0] for row in features() if row[3] == "**not yet**"}
    assert named & unproved == set(), "Say in docs/features.md which test proves these."


def test_the_counts_above_the_tables_are_those_of_the_tables() -> None:
    text = (ROOT / "docs" / "features.md").read_text()
    said = re.findall(r"^(\d+) of (\d+)\.$", text, re.MULTILINE)
    counted = []
    for system, most in FEATURES.items():
        mine = [row for row in features() if row[0].startswith(system)]
        counted.append((str(sum(row[3] != "**not yet**" for row in mine)), str(most)))
    assert said == counted


def test_the_protocol_names_every_address_of_agents_and_no_other() -> None:
    text = (ROOT / "docs" / "agent-protocol.md").read_text()
    named = {
        (method, re.sub(r"\{\w+\}", "{}", rest.replace("…", "/agent/runs/{}/attempts/{}")))
        for method, rest in re.findall(r"`(GET|POST|PUT|PATCH) ((?:…|/agent/)[^`?\s]*)[`?]", text)
    }
    served = {
        (method, re.sub(r"<[^>]*>", "{}", address.removeprefix("api/v1")))
        for method, address in routes(under="api/v1/agent/")
    }
    assert named == served


def test_the_protocol_names_every_code_of_vault_and_uploads() -> None:
    text = (ROOT / "docs" / "agent-protocol.md").read_text()
    codes = {
        kind.code
        for module in (errors, files)
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.VaultError | files.UploadError)
        and kind not in (errors.VaultError, files.UploadError)
    }
    assert codes >= {"invalid_manifest", "invalid_objects", "offset_mismatch"}
    assert {code for code in codes if f"`{code}`" not in text} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    """A path with a folder of ours in front, with or without what is inside the file."""
    ours = "agents|bench|config|docs|jobs|notifications|requirements|sites|static|templates|tests"
    named = re.findall(rf"`((?:{ours}|yardmaster)/[\w./-]*)(?:::?[\w.]+)?`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_operations_names_every_setting_and_no_other() -> None:
    row = re.compile(r"^\| `([A-Z][A-Z_]+)` +\|", re.MULTILINE)
    told = row.findall((ROOT / "docs" / "operations.md").read_text())
    there = row.findall((ROOT / "config" / "settings" / "base.py").read_text())
    assert len(there) > 10
    assert sorted(told) == sorted(there)


def test_every_file_for_deploying_is_told_of() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    files = [path.name for path in (ROOT / "docs" / "deploy").iterdir()]
    assert files
    assert [name for name in files if f"](deploy/{name})" not in text] == []
