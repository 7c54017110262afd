"""How tests ask for a page of the portal as somebody, and what a person reads of it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.conf import settings
from django.db import models
from django.test import Client
from django.urls import reverse

from sites.models import User


def as_(user: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[0])
    return client


def html(user: User, path: str) -> str:
    answer = as_(user).get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return str(answer.content.decode())


def words(markup: str) -> str:
    """What a person reads of a piece of a page."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def filled(page: str) -> dict[str, str]:
    """What a browser sends of a page's inputs where nobody types anything."""
    found = {}
    for tag in re.findall(r"<input\b[^>]*>", page):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if "name" in attributes:
            found[attributes["name"]] = unescape(attributes.get("value", ""))
    return found


def facts(page: str) -> dict[str, str]:
    """The pairs of the column of facts."""
    aside = page[page.index('id="run-facts"') :]
    pairs = re.findall(r"<dt[^>]*>(.*?)</dt><dd[^>]*>(.*?)</dd>", aside, re.DOTALL)
    return {words(term): words(value) for term, value in pairs}


def rows(page: str) -> list[dict[str, str]]:
    """A page's table: each row by the words of its columns; a column without words has none."""
    table = page[page.index("<table") : page.index("</table>")]
    heads = [words(cell) for cell in re.findall(r"<th\b[^>]*>(.*?)</th>", table, re.DOTALL)]
    found = []
    for row in re.findall(r"<tr\b[^>]*>(.*?)</tr>", table, re.DOTALL):
        cells = [words(cell) for cell in re.findall(r"<td\b[^>]*>(.*?)</td>", row, re.DOTALL)]
        if len(cells) == len(heads):
            found.append(dict(zip(heads, cells, strict=True)))
    return found


def causes(page: str) -> dict[str, str]:
    """The likely causes as they are listed: title → how likely, and what was seen."""
    listed = page[page.index("Likely causes") : page.index("</ul>", page.index("Likely causes"))]
    found = {}
    for one in listed.split("<li>")[1:]:
        title = re.search(r'<p class="strong">(.*?)</p>', one)
        assert title
        found[title[1]] = words(one).replace(f" {title[1]}", "", 1)
    return found


def admin_path(model: type[models.Model] | models.Model, name: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)
