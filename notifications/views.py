"""The bell, the page of notifications, and what one hears of, in one's profile."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from sites import keyset
from sites.access.policy import EVERY
from sites.models import User
from sites.pages import ON_PAGE, PortalRequest, at_cursor, back, within_organization
from sites.problems import Refused

from . import delivering, reading, subscriptions, wording
from .models import Notification
from .permissions import notification_policy


@within_organization
@require_GET
def notification_list(request: PortalRequest) -> HttpResponse:
    """List what the person was told in the current organization, the newest first; or only the
    bell with the number of what is unread.

    A page fetches its bell once it stands, and waits for none.
    """
    unread = reading.count_unread(request.user, request.organization)
    if "bell" in request.GET:
        about = {"unread": unread, "here": request.GET["bell"][:20]}
        return render(request, "notifications/bell.html", about)
    only_unread = request.GET.get("show") == "unread"
    rows = reading.own(request.user).filter(organization=request.organization)
    place = keyset.read(request.GET.get("cursor", ""), reading.NEWEST)
    page = keyset.cut(
        rows.filter(read_at=None) if only_unread else rows,
        [EVERY],
        reading.NEWEST,
        size=ON_PAGE,
        place=place,
    )
    found = reading.for_rows(Notification.objects.all()).in_bulk(page.ids) if page.ids else {}
    told = [found[pk] for pk in page.ids]
    runs = wording.runs_of(told)
    zones = {one.site.time_zone if one.site else "UTC" for one in told}
    return render(
        request,
        "notifications/notification_list.html",
        {
            "nav": "notifications",
            "rows": [(one, runs.get(one.event.subject_id)) for one in told],
            "unread": unread,
            "only_unread": only_unread,
            "zone": zones.pop() if len(zones) == 1 else "",
            "newer": at_cursor(request, page.previous),
            "older": at_cursor(request, page.next),
            "off": delivering.off(request.user),
        },
    )


@within_organization
@require_POST
def read_all(request: PortalRequest) -> HttpResponse:
    """Note that the person has read all of the current organization."""
    rows = reading.own(request.user).filter(organization=request.organization)
    number = reading.mark_read(rows)
    messages.info(request, f"{number:,} marked as read." if number else "All was read already.")
    return redirect("notification-list")


@within_organization
@require_POST
def read_one(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Note that the person has read one."""
    own = Notification.objects.filter(recipient=request.user)
    one = notification_policy.get(request.user, "read", own, public_id=public_id)
    reading.mark_read(Notification.objects.filter(pk=one.pk))
    return back(request, "notification-list")


@login_required
@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Keep the levels that the person chose, of the sites that the form has shown."""
    user = cast(User, request.user)
    sent = {}
    for name, level in request.POST.items():
        if name.startswith("level-"):
            try:
                sent[UUID(name.removeprefix("level-"))] = str(level)
            except ValueError:
                continue
    sites = subscriptions.sites_of(user).filter(public_id__in=list(sent))
    try:
        subscriptions.choose(user, {site: sent[site.public_id] or None for site in sites})
    except Refused as refusal:
        messages.error(request, refusal.detail)
    else:
        messages.info(request, "What you hear of is saved.")
    return redirect(f"{reverse('profile')}#notifications")


@login_required
@require_POST
def mail_on(request: HttpRequest) -> HttpResponse:
    """Send the person mail again, at an address that has failed."""
    if delivering.turn_on(cast(User, request.user)):
        messages.info(request, "You get mail again, about what happens from now on.")
    return back(request, "notification-list")
