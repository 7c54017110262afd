"""Which of allauth's pages the portal has: those that have our own look."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account import views
from allauth.socialaccount import views as social_views
from allauth.socialaccount.providers.openid_connect import views as openid_views
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.urls import include, path, re_path
from django.views.decorators.cache import never_cache


def reaching(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Tell whoever wants to log in through a provider that it does not answer at the moment."""

    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except OSError:
            return render(request, "socialaccount/authentication_error.html", status=503)

    return page


urlpatterns = [
    path("login/", views.login, name="account_login"),
    path("logout/", views.logout, name="account_logout"),
    # Closed; the log-in view names it.
    path("signup/", views.signup, name="account_signup"),
    path("inactive/", views.account_inactive, name="account_inactive"),
    path("password/change/", views.password_change, name="account_change_password"),
    # For who came in by single sign-on and has no password yet.
    path("password/set/", views.password_set, name="account_set_password"),
    path("password/reset/", views.password_reset, name="account_reset_password"),
    path("password/reset/sent/", views.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^password/reset/(?P<uidb36>[0-9a-z]{1,13})-(?P<key>[^/]{1,100})/$",
        never_cache(views.password_reset_from_key),
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/done/",
        views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("reauthenticate/", views.reauthenticate, name="account_reauthenticate"),
    path("second-factor/", include("allauth.mfa.urls")),
    path(
        "oidc/<str:provider_id>/login/", reaching(openid_views.login), name="openid_connect_login"
    ),
    path(
        "oidc/<str:provider_id>/login/callback/",
        reaching(openid_views.callback),
        name="openid_connect_callback",
    ),
    path("oidc/canceled/", social_views.login_cancelled, name="socialaccount_login_cancelled"),
    path("oidc/error/", social_views.login_error, name="socialaccount_login_error"),
    # Never open: an account is made without asking, or not at all.
    path("oidc/signup/", views.signup, name="socialaccount_signup"),
]
