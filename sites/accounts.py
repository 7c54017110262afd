"""How people come in: by invitation of an administrator, never by signing themselves up."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.providers.base import AuthProcess
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import render

from . import invitations
from .members import account_changed
from .models import User


class AccountAdapter(DefaultAccountAdapter):
    """Log-in with a password."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def set_password(self, user: User, password: str) -> None:
        """Set a password, which ends the other log-ins and with them their live connections."""
        with transaction.atomic():
            super().set_password(user, password)
            account_changed(user)


class SingleSignOnAdapter(DefaultSocialAccountAdapter):
    """Log-in through the provider that OIDC_URL names.

    Who has an account comes in with it, by the address that the provider has verified. Who has none
    gets one where an invitation waits for the address, or where OIDC_ORGANIZATION takes them.
    """

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        if sociallogin.state.get("process") != AuthProcess.LOGIN:
            # To be led to add somebody else's account at the provider would give one's own away.
            raise ImmediateHttpResponse(
                render(request, "socialaccount/authentication_error.html", status=403)
            )
        if sociallogin.is_existing:
            return
        if not _verified(sociallogin):
            raise ImmediateHttpResponse(render(request, "account/unverified.html", status=403))
        if found := super().authenticate_by_email(sociallogin):
            sociallogin.connect(request, found[0])

    def authenticate_by_email(self, sociallogin: Any) -> None:
        """Find nobody: from whom is found here, allauth takes the password and all other log-ins.

        That is for places where people sign themselves up, with an address that may be another's.
        Here addresses come from administrators and invitations.
        """

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return invitations.may_come(_verified(sociallogin))

    def populate_user(self, request: HttpRequest, sociallogin: Any, data: dict[str, Any]) -> User:
        user: User = super().populate_user(request, sociallogin, data)
        email = _verified(sociallogin) or user.email
        user.email, user.username = email, invitations.free_name(email)
        user.first_name, user.last_name = user.first_name[:150], user.last_name[:150]
        return user

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> User:
        """Make the account and what it belongs to, or neither."""
        with transaction.atomic():
            user: User = super().save_user(request, sociallogin, form)
            invitations.admit(user)
        return user


def _verified(sociallogin: Any) -> str:
    """Give the address that the provider has verified; empty where there is none."""
    found = (one.email for one in sociallogin.email_addresses if one.verified)
    return str(next(found, "")).lower()
