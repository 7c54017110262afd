"""How the secrets of a person's second factor lie in the database: encrypted, as credentials do."""

from __future__ import annotations

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.core.exceptions import PermissionDenied

from . import encryption
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

    Each by one conditional UPDATE: one that is replaced meanwhile is left to who replaced it.
    """
    done = 0
    for row in Authenticator.objects.order_by("pk").iterator():
        new = {
            name: again
            for name in _SECRETS
            if name in row.data and (again := encryption.sealed_anew(row.data[name])) is not None
        }
        if new:
            same = Authenticator.objects.filter(pk=row.pk, data=row.data)
            done += same.update(data=row.data | new)
    return done


def is_on(user: User) -> bool:
    """Say whether a log-in with a password asks this person for a code, too."""
    return Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists()


def remove(user: User) -> None:
    """Take the second factor from a person who has lost it, with its recovery codes."""
    Authenticator.objects.filter(user=user).delete()
