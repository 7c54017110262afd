"""How a forgotten password is set anew: by a link to the address of the account, and no other."""

from __future__ import annotations

import logging
from datetime import timedelta
from urllib.parse import urlsplit

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from . import mail
from .models import User

log = logging.getLogger(__name__)

# So long it is tried to send a link.
PATIENCE = timedelta(hours=1)
# Who has taken a link and not sent it by then was ended; another one sends it.
TAKEN_FOR = timedelta(minutes=2)


def ask_for_link(email: str) -> None:
    """Have each open account of an address mailed a link, however its letters are written there.

    By the worker: how long a mail takes tells nobody here which addresses have an account.
    """
    found = User.objects.filter(email__iexact=email, is_active=True).values_list("pk", "email")
    # Databases differ in which letters are alike: another address must not get the link.
    wanted = [pk for pk, stored in found if stored.lower() == email.lower()]
    User.objects.filter(pk__in=wanted).update(link_due_at=timezone.now(), link_taken_at=None)


def send_due_links() -> int:
    """Send the links that were asked for; gives how many. What the mail server does not take is
    tried again at the next tick, for an hour. A link that was asked for longer ago, as while the
    worker was down, is never tried: nobody waits for it any more.

    A worker that is killed between sending and marking as sent leaves a link that is sent twice,
    never one that is lost.
    """
    sent = 0
    for user in User.objects.filter(_free(), link_due_at__isnull=False, is_active=True):
        assert user.link_due_at is not None
        asked = User.objects.filter(pk=user.pk, link_due_at=user.link_due_at)
        # Of two workers one takes it.
        if not asked.filter(_free()).update(link_taken_at=timezone.now()):
            continue
        over = {"link_due_at": None, "link_taken_at": None}
        if timezone.now() - user.link_due_at > PATIENCE:
            log.error("A link for a new password could not be sent within an hour.")
            asked.update(**over)
            continue
        try:
            _send(user)
        except OSError as error:
            log.warning("The mail server did not take a link for a new password: %s", error)
            asked.update(link_taken_at=None)
        except Exception:
            # Such as an address that no mail can have: it must not keep the others waiting.
            log.exception("A link for a new password cannot be sent.")
            asked.update(**over)
        else:
            asked.update(**over)
            sent += 1
    return sent


def _free() -> Q:
    """Say whose link nobody is about to send."""
    return Q(link_taken_at=None) | Q(link_taken_at__lt=timezone.now() - TAKEN_FOR)


def _send(user: User) -> None:
    """Mail a link that sets a new password, once and for some hours."""
    key = default_token_generator.make_token(user)
    path = reverse("account_reset_password_from_key", args=[user_pk_to_url_str(user), key])
    context = {
        "name": mail.one_line(user.get_full_name() or user.username, 80),
        "username": user.username,
        "link": settings.PUBLIC_URL + path,
        "hours": settings.PASSWORD_RESET_TIMEOUT // 3600,
    }
    subject = f"Your password at {urlsplit(settings.PUBLIC_URL).netloc}"
    mail.send("password_reset", to=user.email, subject=subject, context=context)
