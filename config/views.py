"""The one page that needs all apps: how the portal itself is doing."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from config import health as checks
from config import watch
from config.disks import fullest
from notifications import lag
from sites.access import grants_of
from sites.access.admin_site import admitted
from sites.models import Role


@login_required
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """Show administrators the ages of what repeats, disk, database, and who waits longest.

    Runs and agents are those of the organizations that they administer; where the portal's files
    lie is for superusers.
    """
    if not admitted(request.user):
        raise PermissionDenied("How the portal is doing is shown to administrators.")
    grants = grants_of(request.user)
    own = None if grants.superuser else grants.organizations(Role.ADMINISTRATOR)
    works, disk, waiting = watch.work(), fullest(), watch.deliveries()
    return render(
        request,
        "config/health.html",
        {
            "nav": "health",
            "works": works,
            "wrong": watch.amiss(works, disk, waiting),
            "waiting": waiting,
            "deliveries_late_after_s": lag.LATE_AFTER_S,
            "failing": checks.failing(),
            "database": watch.database_name(),
            "database_ms": watch.database_s() * 1000,
            "disk": disk,
            "oldest": watch.oldest_pending(own),
            "interruptions": watch.interruptions(own),
            "superuser": grants.superuser,
        },
    )
