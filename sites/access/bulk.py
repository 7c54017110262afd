"""The admin's actions on several rows: asked once, done one by one by the rules, told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from ..problems import Refused
from .admin import ScopedAdmin

# So many rows at once: each goes through its rule, with all that it locks and announces.
MOST = 100


def ask_each(
    admin: ScopedAdmin,
    request: HttpRequest,
    queryset: models.QuerySet[Any],
    name: str,
    *,
    title: str,
    question: str,
    do: Callable[[Any], str],
    danger: bool = False,
) -> HttpResponse | None:
    """Ask before acting, list the objects, then call one rule for each and say what came of it.

    `name` is the button on the page of one object that does the same: who may not press it there,
    or where it is not on offer, reads so here. What one rule refuses hinders no other object.
    """
    rows = list(queryset[: MOST + 1])
    if len(rows) > MOST:
        messages.error(request, f"Choose no more than {MOST} at once; nothing was done.")
        return None
    if "asked" not in request.POST:
        context = {
            **admin.admin_site.each_context(request),
            "opts": admin.opts,
            "title": title,
            "question": question,
            "danger": danger,
            "rows": rows,
            "chosen": ACTION_CHECKBOX_NAME,
            "action": request.POST["action"],
            "back": request.get_full_path(),
        }
        return TemplateResponse(request, "admin/ask_each.html", context)
    done = 0
    for row in rows:
        if not admin.permits(name, request, row):
            messages.error(request, f"{row}: your role does not allow this.")
        elif not admin.offers(name, row):
            messages.warning(request, f"{row}: not in the state that it is in.")
        else:
            done += _do(request, row, do)
    _count(request, done, rows)
    return redirect(request.get_full_path())


def _do(request: HttpRequest, row: Any, do: Callable[[Any], str]) -> bool:
    try:
        said = do(row)
    except Refused as refusal:
        more = [text for texts in (refusal.errors or {}).values() for text in texts]
        words = refusal.detail if refusal.detail in more or not more else " ".join(more)
        messages.error(request, f"{row}: {words}")
        return False
    messages.success(request, said)
    return True


def _count(request: HttpRequest, done: int, rows: Iterable[Any]) -> None:
    number = len(list(rows))
    if number > 1:
        messages.info(request, f"Done for {done} of {number}.")
