"""What the portal's pages share: for whom they are drawn, where their forms send people back to,
how a refusal is shown, and the page that asks about a pause.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from .access import grants_of
from .forms.pauses import OTHER, PauseForm
from .models import Organization, Pausable, User
from .pauses import zone_of
from .problems import Refused

# So many rows are on a page of a list.
ON_PAGE = 50


class PortalRequest(HttpRequest):
    """A request of which both are known."""

    user: User
    organization: Organization


def asked_by_page(request: HttpRequest) -> bool:
    """Say whether portal.js or htmx asks for a page, to swap a part of the one that is open."""
    return request.headers.get("HX-Request") == "true"


def within_organization(
    view: Callable[..., HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Send who is not logged in to the log-in, and tell who belongs to no organization so."""

    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        known = cast(PortalRequest, request)
        if not known.organization:
            makes = grants_of(known.user).superuser
            told = {"nav": "home", "makes_organizations": makes}
            return render(request, "sites/no_organization.html", told)
        return view(known, *args, **kwargs)

    return login_required(page)


def at_cursor(request: HttpRequest, cursor: str) -> str:
    """Give the address of another page of a list; empty where there is none."""
    if not cursor:
        return ""
    params = request.GET.copy()
    params["cursor"] = cursor
    return f"?{params.urlencode()}"


def back(request: HttpRequest, otherwise: str) -> HttpResponse:
    """Send a person back to where the form stood, never to another host."""
    to = request.POST.get("next", "")
    here = url_has_allowed_host_and_scheme(to, {request.get_host()}, request.is_secure())
    # An address, where `redirect` would take a word for the name of a page.
    if here and to.startswith("/"):
        return HttpResponseRedirect(to)
    return redirect(otherwise)


def once_typed(request: HttpRequest, name: str, act: Callable[[], object]) -> str:
    """Do what cannot be undone once its name was typed; gives what speaks against it, or nothing.

    A rule's refusal is among that.
    """
    if request.POST.get("name", "").strip() != name:
        return f"Type the name “{name}” to confirm."
    try:
        act()
    except Refused as refusal:
        return refusal.detail
    return ""


def add_refusal(form: Form, refusal: Refused) -> None:
    """Put what a rule refused beside the fields that it is about, else on top of the form."""
    fields = {name: texts for name, texts in (refusal.errors or {}).items() if name in form.fields}
    for name, texts in fields.items():
        form.add_error(name, list(texts))
    if not fields:
        form.add_error(None, refusal.detail)


def ask_pause(
    request: PortalRequest,
    paused: Pausable,
    *,
    begin: Callable[..., None],
    to: str,
    nav: str,
    what_waits: str,
) -> HttpResponse:
    """Ask how long and why, then pause by the rule and go `to` an address.

    `what_waits` is a sentence that says what the pause holds up.
    """
    lasts, zone = {}, zone_of(paused)
    if paused.is_paused:
        local = timezone.localtime(paused.paused_until, ZoneInfo(zone))
        lasts = {"lasts": OTHER, "until": f"{local:%Y-%m-%dT%H:%M}", "reason": paused.pause_reason}
    form = PauseForm(request.POST if request.method == "POST" else None, zone=zone, initial=lasts)
    if request.method == "POST" and form.is_valid():
        try:
            begin(
                paused,
                until=form.cleaned_data["until"],
                reason=form.cleaned_data["reason"],
                by=request.user,
            )
        except Refused as refusal:
            add_refusal(form, refusal)
        else:
            messages.info(request, f"{paused} is paused.")
            return redirect(to)
    kind = str(paused._meta.verbose_name)
    return render(
        request,
        "sites/pause.html",
        {
            "nav": nav,
            "form": form,
            "paused": paused,
            "kind": kind,
            "what_waits": what_waits,
            "to": to,
        },
        status=422 if form.errors else 200,
    )
