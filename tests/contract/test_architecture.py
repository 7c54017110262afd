"""How the source is built, read from it: what neither import contracts nor style checks hold."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PORTAL = ("sites", "agents", "jobs", "notifications", "config")
FOLDERS = (*PORTAL, "yardmaster", "tests", "bench")
# Such names say nothing of what a module decides.
EMPTY_NAMES = {
    *("services", "selectors", "helpers", "utils", "mixins", "constants", "managers"),
    *("common", "core"),
}
# Django's own answers to "may this person": they say yes to superusers and to permissions on all
# rows before any policy is asked.
DJANGOS = {"has_perm", "has_perms", "has_module_perms", "get_perms", "permission_required"}
# What a page would bring along instead of naming a file of ours; or another host's.
FOREIGN = re.compile(
    r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)"
    r"|\s(?:src|srcset|action|data-src)=[\"']?(?:https?:)?//"
    r"|<link[^>]*\shref=[\"']?(?:https?:)?//",
    re.IGNORECASE,
)


def modules(*folders: str) -> list[Path]:
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "migrations" not in path.parts
    ]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def templates() -> list[Path]:
    return sorted((ROOT / "templates").rglob("*.html"))


def names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.alias(name=name):
                yield name


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_only_the_policies_say_who_may() -> None:
    asked = {
        shown(path): found
        for path in modules(*PORTAL)
        if not path.is_relative_to(ROOT / "sites" / "access")
        and (found := DJANGOS.intersection(names_in(parsed(path))))
    }
    assert asked == {}
    assert [shown(page) for page in templates() if re.search(r"\bperms\b", page.read_text())] == []


def test_pages_bring_no_script_style_or_foreign_file_along() -> None:
    """The content security policy would refuse them: nothing of a page comes from elsewhere."""
    assert templates()
    found = {
        shown(page): match.group()
        for page in templates()
        if (match := FOREIGN.search(re.sub(r"{#.*?#}", "", page.read_text())))
    }
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "<style>p{}</style>",
        '<p style="color:red">',
        '<a onclick="x()">',
        "<script>x()</script>",
        '<a href="javascript:x()">',
        '<img src="https://elsewhere.example/x.png">',
        '<link rel="icon" href="//elsewhere.example/x.png">',
    ],
)
def test_what_a_page_may_not_bring_along_is_known(text: str) -> None:
    assert FOREIGN.search(text)


def test_each_module_is_named_for_what_it_decides_and_says_it() -> None:
    unnamed = [shown(path) for path in modules(*FOLDERS) if path.stem in EMPTY_NAMES]
    unsaid = [
        shown(path)
        for path in modules(*FOLDERS)
        if parsed(path).body and not ast.get_docstring(parsed(path))
    ]
    assert (unnamed, unsaid) == ([], [])


def test_nothing_happens_behind_a_save() -> None:
    """Rules are called by name: no model has a `save()` of its own and no signal is heard."""
    signals = {"pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed"}
    heard = [shown(path) for path in modules(*PORTAL) if signals & {*names_in(parsed(path))}]
    own = [
        f"{shown(path)}: {node.name}"
        for path in modules(*PORTAL)
        if "models" in (path.stem, path.parent.name)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef) and node.name in ("save", "delete")
    ]
    assert (heard, own) == ([], [])


def test_each_variable_of_the_environment_is_in_the_table() -> None:
    table = ast.get_docstring(parsed(ROOT / "config" / "settings" / "base.py")) or ""
    read = {
        node.args[0].value
        for path in modules("config/settings")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "env"
        and isinstance(node.args[0], ast.Constant)
    }
    assert read == set(re.findall(r"^\| `([A-Z_]+)`", table, re.MULTILINE))
