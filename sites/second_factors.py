"""How the secrets of a person's second factor lie in the database: encrypted, as credentials do."""

from __future__ import annotations

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.core.exceptions import PermissionDenied
from django.db import transaction

from . import encryption
from .audit import note
from .models import User

# Where a secret stands in what an authenticator keeps.
_SECRETS = ("secret", "seed")


class SecondFactorAdapter(DefaultMFAAdapter):
    """Lets allauth keep its secrets as ours are kept."""

    def encrypt(self, text: str) -> str:
        return encryption.sealed({"text": text})

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return str(encryption.opened(encrypted_text)["text"])
        except encryption.Unreadable as error:
            # Refused, for what could not be read must not be taken for an empty secret.
            raise PermissionDenied(str(error)) from None


def seal_all_anew() -> int:
    """Encrypt every secret with the newest key; gives how many were not yet.

    Each under its lock, as who uses up a recovery code holds it: that one writes all of the row
    back, with the secret as it was read.
    """
    done = 0
    for pk in Authenticator.objects.order_by("pk").values_list("pk", flat=True):
        with transaction.atomic():
            row = Authenticator.objects.select_for_update().filter(pk=pk).first()
            kept = row.data if row is not None else {}
            new = {
                name: again
                for name in _SECRETS
                if name in kept and (again := encryption.sealed_anew(kept[name])) is not None
            }
            if row is not None and new:
                row.data = kept | new
                row.save(update_fields=["data"])
                done += 1
    return done


def is_on(user: User) -> bool:
    """Say whether a log-in with a password asks this person for a code, too."""
    return Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists()


def remove(user: User) -> None:
    """Take the second factor from a person who has lost it, with its recovery codes."""
    with transaction.atomic():
        deleted, _ = Authenticator.objects.filter(user=user).delete()
        if deleted:
            note(user, "second factor", "on", "removed")
