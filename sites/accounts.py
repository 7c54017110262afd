"""How people come in: by invitation of an administrator, never by signing themselves up."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.providers.base import AuthProcess
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import render
from django.urls import reverse

from . import invitations, mail
from .models import User

log = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):
    """Log-in with a password."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Lead to the portal's own address, whatever name of the host was asked for."""
        uid, _, secret = key.partition("-")
        return settings.PUBLIC_URL + reverse("account_reset_password_from_key", args=[uid, secret])

    def send_password_reset_mail(self, user: User, email: str, context: dict[str, Any]) -> None:
        """Send the link to the address of the account, never to what was typed."""
        to_whom = {
            "name": mail.one_line(user.get_full_name() or user.username, 80),
            "username": user.username,
            "link": context["password_reset_url"],
            "hours": settings.PASSWORD_RESET_TIMEOUT // 3600,
        }
        subject = f"Your password at {urlsplit(settings.PUBLIC_URL).netloc}"
        try:
            mail.send("password_reset", to=user.email, subject=subject, context=to_whom)
        except OSError as error:
            # The page says the same to everyone: else it would tell who has an account.
            log.error("The mail server did not take a mail for a new password: %s", error)


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
        if not sociallogin.is_existing and not _verified(sociallogin):
            raise ImmediateHttpResponse(render(request, "account/unverified.html", status=403))

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
