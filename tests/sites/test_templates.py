"""What holds for every template of the portal: icons that exist, no inline style or script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

from sites.templatetags.portal import SPRITE

pytestmark = pytest.mark.once

TEMPLATES = [
    path
    for path in sorted((settings.BASE_DIR / "templates").rglob("*.html"))
    if "admin" not in path.parts
]
CODE = [*settings.BASE_DIR.glob("*/templatetags/*.py"), *settings.BASE_DIR.glob("jobs/views/*.py")]


def symbols() -> set[str]:
    return set(
        re.findall(r'<symbol id="([^"]+)"', (settings.BASE_DIR / "static" / SPRITE).read_text())
    )


def test_the_sprite_holds_exactly_the_icons_that_are_named() -> None:
    listed = set((settings.BASE_DIR / "static/vendor/icons.txt").read_text().split())
    assert symbols() == listed


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_draws_icons_of_the_sprite_and_has_nothing_inline(path: Path) -> None:
    text = path.read_text()
    named = set(re.findall(r'{% icon "([a-z0-9-]+)"', text))
    named |= set(re.findall(r'icon="([a-z0-9-]+)"', text))
    assert named <= symbols()
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*\ssrc=)", text)


def test_the_icons_that_code_names_are_in_the_sprite() -> None:
    texts = "\n".join(path.read_text() for path in CODE)
    named = set(re.findall(r'\("(?:plain|green|orange|red|grey|blue)", "([a-z0-9-]+)"', texts))
    assert named
    assert named <= symbols()
