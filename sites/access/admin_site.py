"""Whom the admin lets in, by role alone, and what its pages may do in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from csp.decorators import csp_update
from django.conf import settings
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from ..models import Role, User
from .grants import grants_of

# Unfold is built on Alpine, which makes functions from text, and on style attributes.
RELAXED = {"script-src": ["'unsafe-eval'"], "style-src": ["'unsafe-inline'"]}


def admitted(user: User | AnonymousUser) -> bool:
    """Say whether the admin opens: to superusers and to whoever administers an organization."""
    grants = grants_of(user)
    return grants.superuser or bool(grants.organizations(Role.ADMINISTRATOR))


class ScopedChoices(AutocompleteJsonView):
    """What a field may name, as its own form takes it: not all that the person may see."""

    admin_site: Any

    def get_queryset(self) -> QuerySet[Any]:
        found: QuerySet[Any] = super().get_queryset()
        try:
            asking: Any = self.admin_site.get_model_admin(self.source_field.model)
        except NotRegistered:
            raise PermissionDenied from None
        return found.filter(pk__in=asking.choices_for(self.source_field, self.request).values("pk"))


class PortalAdminSite(UnfoldAdminSite):
    """The admin of the portal: entered by role, through the portal's own log-in."""

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        # Rows go one by one, through rules; never a selection of them through SQL.
        self.disable_action("delete_selected")

    def has_permission(self, request: HttpRequest) -> bool:
        return admitted(request.user)

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:
        return csp_update(RELAXED)(super().admin_view(view, cacheable))

    def autocomplete_view(self, request: HttpRequest) -> HttpResponseBase:
        return ScopedChoices.as_view(admin_site=self)(request)

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Send to the portal's log-in, which has its rate limits and second factor.

        Whoever is logged in and not admitted would be sent back and forth: they read why instead.
        """
        if self.has_permission(request):
            return HttpResponseRedirect(reverse("admin:index", current_app=self.name))
        if request.user.is_authenticated:
            raise PermissionDenied("The admin is open to administrators of an organization.")
        back = request.GET.get("next") or reverse("admin:index", current_app=self.name)
        return redirect_to_login(back, settings.LOGIN_URL)

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("account_change_password")
