"""How credentials come to be, change and end, and what of them goes out with a claim.

A credential stands on targets, and whoever may edit a target has its runs use what stands there.
Only who may manage a credential puts it there, and it goes to no other address than the one at
which it was put: `sites.places` asks for it anew.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from . import encryption
from .events import record
from .models import Credential, Target, User
from .problems import Refused

log = logging.getLogger(__name__)

# Kind → the names that its secret must have, and those that it may have.
PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    Credential.Kind.PASSWORD: (("password",), ()),
    Credential.Kind.KEY: (("private_key",), ("passphrase",)),
    Credential.Kind.HEADERS: (("headers",), ()),
}
MOST_HEADERS, LONGEST = 20, 20_000
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
# An agent that was silent may report for a day: so many replaced secrets are masked still.
_REMEMBERED = 5
# So many targets are named.
_NAMED = 3


def add(credential: Credential, secret: dict[str, Any], *, by: User) -> Credential:
    """Store a new credential with its secret; the door has asked "manage" of its parent."""
    if credential.site is not None and credential.site.archived_at is not None:
        raise Refused("archived", f"Site “{credential.site}” is archived; nothing is added there.")
    credential.sealed = encryption.sealed({"now": check(credential.kind, secret), "before": []})
    credential.created_by = credential.changed_by = by
    credential.changed_at = Now()
    credential.full_clean(exclude=["changed_at"], validate_constraints=False)
    return _save(credential)


def change(
    credential: Credential, *, by: User, secret: dict[str, Any] | None = None, **columns: str
) -> Credential:
    """Give a credential another name or user name, or another secret in place of the one it has.

    Runs that were given the earlier secret have it masked still.
    """
    with transaction.atomic():
        stored = _locked(credential)
        for name, value in columns.items():
            setattr(stored, name, value)
        if secret is not None:
            new, known = check(stored.kind, secret), _known(stored)
            before = [known["now"], *known["before"]][:_REMEMBERED]
            stored.sealed = encryption.sealed({"now": new, "before": before})
            stored.changed_by, stored.changed_at = by, Now()
        stored.full_clean(exclude=["changed_at"], validate_constraints=False)
        return _save(stored)


def archive(credential: Credential) -> None:
    """Put a credential away; refused 409 while it stands on a target.

    It is sent no more. What it held stays encrypted, to be masked in what agents still report.
    """
    with transaction.atomic():
        stored = _locked(credential)
        targets = list(Target.objects.filter(credential=stored, archived_at=None)[: _NAMED + 1])
        if targets:
            names = ", ".join(f"“{one}”" for one in targets[:_NAMED])
            more = " and others" if len(targets) > _NAMED else ""
            raise Refused(
                "in_use",
                f"Credential “{stored}” stands on {names}{more}: take it off there first.",
            )
        stored.archived_at = Now()
        _save(stored)


def usable_at(target: Target, credential: Credential, *, address: str) -> Credential:
    """Lock a credential that is to stand on a target at an address; Refused 422 where it cannot.

    Runs inside the transaction that puts it there, so that it is not archived meanwhile.
    """
    stored = Credential.objects.select_for_update(of=("self",)).get(pk=credential.pk)
    words = ""
    if stored.organization_id != target.organization_id:
        words = "No such credential."
    elif stored.archived_at is not None:
        words = f"Credential “{stored}” is archived."
    elif stored.site_id not in (None, target.site_id):
        words = f"Credential “{stored}” is for the targets of another site."
    elif not address.strip():
        words = "A target without an address has no credential: parameters would say where it goes."
    if words:
        raise Refused("invalid", words, status=422, errors={"credential": [words]})
    return stored


def handed_out(username: str, sealed: str) -> dict[str, Any]:
    """Give what a claim says: `username` where there is one, and the parts of the secret.

    Empty where its key is lost: the run fails at the door it should have opened, and the portal's
    log says why; other runs of the claim go on.
    """
    try:
        secret = encryption.opened(sealed)["now"]
    except encryption.Unreadable as error:
        log.error("%s", error)
        return {}
    return ({"username": username} if username else {}) | secret


def texts(sealed: str) -> set[str]:
    """List what must be masked where it was handed out, replaced secrets included.

    Also each line of a key, and what follows the scheme in a header such as `Bearer abc`.
    """
    try:
        known = encryption.opened(sealed)
    except encryption.Unreadable:
        return set()
    found: set[str] = set()
    for secret in (known["now"], *known["before"]):
        found.update(_texts(secret))
    return found


def seal_all_anew() -> int:
    """Encrypt every credential with the newest key; gives how many were not yet.

    Each by one conditional UPDATE: a secret that is replaced meanwhile is left to who replaced it.
    Safe to run twice, at once too.
    """
    done = 0
    # Read whole, for SQLite does not write beside a list that is still being read.
    for pk, old in list(Credential.objects.order_by("pk").values_list("pk", "sealed")):
        new = encryption.sealed_anew(old)
        if new is not None:
            done += Credential.objects.filter(pk=pk, sealed=old).update(sealed=new)
    return done


def written(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the parts of a secret in which something is written; None where nothing is at all, so
    that a form leaves the secret that is stored.
    """
    return {name: value for name, value in values.items() if value not in (None, "", {})} or None


def check(kind: str, secret: dict[str, Any]) -> dict[str, Any]:
    """Refuse a secret that is not of its kind (422); give its parts, the empty ones left out and a
    key's lines ended as programs read them.

    The words never hold a value.
    """
    must, may = PARTS[kind]
    errors = {
        f"secret.{name}"[:100]: [f"A credential of the kind “{kind}” has no such part."]
        for name in secret
        if name not in (*must, *may)
    }
    errors |= {f"secret.{name}": ["This is needed."] for name in must if not secret.get(name)}
    for name, value in secret.items():
        field = f"secret.{name}"
        if field in errors or value in (None, ""):
            continue
        if name == "headers":
            words = _wrong_headers(value)
        elif not isinstance(value, str) or len(value) > LONGEST or "\x00" in value:
            words = f"A text of at most {LONGEST:,} characters."
        elif name == "private_key" and "PRIVATE KEY-----" not in value:
            words = "A private key as text: it begins with “-----BEGIN … PRIVATE KEY-----”."
        else:
            continue
        if words:
            errors[field] = [words]
    if errors:
        raise Refused("invalid", "The credential was not stored.", status=422, errors=errors)
    found = written(secret) or {}
    if "private_key" in found:
        # Forms and Windows end lines with \r\n, and no program takes a key with those.
        found["private_key"] = found["private_key"].replace("\r\n", "\n")
    return found


def _wrong_headers(value: Any) -> str:
    if not isinstance(value, dict):
        return 'Headers are written as an object, such as {"Authorization": "…"}.'
    if len(value) > MOST_HEADERS:
        return f"A credential has at most {MOST_HEADERS} headers."
    if len({name.lower() for name in value}) < len(value):
        return "A header is named twice; capital letters make no difference."
    for name, text in value.items():
        if not _HEADER.fullmatch(name):
            return "A header's name has letters, digits and dashes."
        if not isinstance(text, str) or len(text) > LONGEST or not text.isprintable():
            return "A header's value is one line of text."
    return ""


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, str):
        yield value
        yield json.dumps(value)[1:-1]
        yield from (line for line in value.splitlines() if len(line.strip()) >= 8)
        scheme, _, rest = value.partition(" ")
        if rest and scheme.lower() in ("bearer", "basic", "token", "digest"):
            yield rest


def _known(credential: Credential) -> dict[str, Any]:
    try:
        return encryption.opened(credential.sealed)
    except encryption.Unreadable:
        # What cannot be read any more was handed out to nobody since: a new secret heals it.
        return {"now": {}, "before": []}


def _locked(credential: Credential) -> Credential:
    joined = Credential.objects.select_for_update(of=("self",))
    stored = joined.select_related("organization", "site").get(pk=credential.pk)
    if stored.archived_at is not None:
        raise Refused("archived", f"Credential “{stored}” is archived and is not changed any more.")
    return stored


def _save(credential: Credential) -> Credential:
    try:
        with transaction.atomic():
            credential.save()
            record(
                "credential.changed",
                credential.public_id,
                organization=credential.organization,
                site=credential.site,
                data={"name": credential.name},
            )
    except IntegrityError:
        words = f"There is a credential “{credential.name}” already; choose another name."
        raise Refused("name_taken", words, status=422, errors={"name": [words]}) from None
    credential.refresh_from_db()
    return credential
