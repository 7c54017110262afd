"""The portal's page that asks for a pause, the same for a job, a site and an agent."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from ..forms.pauses import PauseForm
from ..models import Pausable
from ..pages import PortalRequest, add_refusal
from ..problems import Refused


def ask_pause(
    request: PortalRequest,
    paused: Pausable,
    *,
    begin: Callable[..., None],
    zone: str,
    to: str,
    nav: str,
    what_waits: str,
) -> HttpResponse:
    """Ask how long and why, then pause by the rule and go `to` an address.

    `what_waits` is a sentence that says what the pause holds up.
    """
    form = PauseForm(request.POST if request.method == "POST" else None, zone=zone)
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
            "zone": zone,
            "what_waits": what_waits,
            "to": to,
        },
        status=422 if form.errors else 200,
    )
