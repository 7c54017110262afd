"""What `STORAGE_URL` means: where the files lie that people and agents send."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

SHAPE = "s3://key:secret@host:port/bucket?region=…, or s3:///bucket with the environment's keys"
_OPTIONS = {"region", "endpoint", "tls", "timeout", "downloads"}


def storage_at(url: str) -> dict[str, Any]:
    """Give the entry of `STORAGES` for an address; an empty one is the local folder.

    Without a host it is Amazon's own; without a key boto3 finds credentials as it does anywhere
    (`AWS_ACCESS_KEY_ID`, a profile, the machine's role).
    """
    if not url:
        return {"BACKEND": "sites.storage.DurableFileSystemStorage"}
    parts = urlsplit(url)
    bucket, _, location = unquote(parts.path.strip("/")).partition("/")
    if parts.scheme != "s3" or not bucket:
        raise ImproperlyConfigured(f"STORAGE_URL is not of the form {SHAPE}.")
    asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if unknown := sorted(set(asked) - _OPTIONS):
        known = ", ".join(sorted(_OPTIONS))
        raise ImproperlyConfigured(f"STORAGE_URL knows {known}, and not {', '.join(unknown)}.")
    options: dict[str, Any] = {
        "bucket_name": bucket,
        "location": location,
        "region_name": asked.get("region"),
        "presigned": _choice(asked, "downloads", {"direct": True, "portal": False}),
        "timeout_s": _seconds(asked),
    }
    tls = _choice(asked, "tls", {"yes": True, "no": False})
    if parts.hostname:
        host = parts.netloc.rpartition("@")[2]
        options["endpoint_url"] = f"{'https' if tls else 'http'}://{host}"
    if endpoint := asked.get("endpoint"):
        options["endpoint_url"] = endpoint
    if parts.username:
        options["access_key"] = unquote(parts.username)
        options["secret_key"] = unquote(parts.password or "")
    return {"BACKEND": "sites.object_storage.ObjectStorage", "OPTIONS": options}


def _choice(asked: dict[str, str], name: str, meaning: dict[str, bool]) -> bool:
    """Read one of two words; the first one is meant where none is there."""
    word = asked.get(name, next(iter(meaning)))
    if word not in meaning:
        raise ImproperlyConfigured(f"STORAGE_URL takes {name}={' or '.join(meaning)}, not {word}.")
    return meaning[word]


def _seconds(asked: dict[str, str]) -> float:
    try:
        seconds = float(asked.get("timeout", "15"))
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 300:
        raise ImproperlyConfigured("STORAGE_URL takes timeout= as seconds, up to 300.")
    return seconds
