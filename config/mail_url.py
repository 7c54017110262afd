"""How the one setting EMAIL_URL says where mail goes: to a server, or into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

# Scheme → how the connection is protected, and the port that is usual for it.
_SCHEMES = {"smtp": ("", 25), "smtp+tls": ("EMAIL_USE_TLS", 587), "smtps": ("EMAIL_USE_SSL", 465)}
ANSWER_WITHIN_S = 15


def mail_at(url: str, folder: Path) -> dict[str, Any]:
    """Give Django's settings for `smtp+tls://user:password@host:port`; for an empty one the folder.

    `smtp` is plain, `smtp+tls` begins plain and changes to TLS, `smtps` is TLS from the start.
    """
    if not url:
        return {
            "EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "EMAIL_FILE_PATH": str(folder),
        }
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        known = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
        raise ImproperlyConfigured(f"EMAIL_URL begins with one of {known} and names a host.")
    protected, port = _SCHEMES[parts.scheme]
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or port,
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_TIMEOUT": ANSWER_WITHIN_S,
        **({protected: True} if protected else {}),
    }
