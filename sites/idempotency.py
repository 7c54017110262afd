"""How a POST without a key of its own is made repeatable: one Idempotency-Key, one effect."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from .models import IdempotencyKey, User
from .problems import Refused

KEPT = timedelta(hours=48)

# What a POST answers: its status and its body as plain JSON.
Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Once:
    """The answer, and whether it is that of an earlier request."""

    status: int
    body: dict[str, Any]
    replayed: bool


def fingerprint(method: str, path: str, body: Any) -> str:
    """Hash what was asked: with another method, address or body it is another request."""
    text = json.dumps([method, path, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def once(
    user: User,
    key: str,
    request_hash: str,
    act: Callable[[], Answer],
    *,
    before: Callable[[], None] | None = None,
) -> Once:
    """Do `act` and keep its answer under the person's key, or give the answer kept before.

    `before` is what takes long and may be done twice, such as to hash files: it is done outside
    the transaction, and not at all where the answer is known.

    The key is inserted first, in the transaction of the effect: of five equal requests at once one
    acts, and the others wait for its commit and read its answer. What `act` refuses rolls both
    back, so a request that was refused may be sent again. Refused `idempotency_conflict` (422)
    where the key came with something else.
    """
    for _ in range(3):
        known = _known(user, key)
        if known is not None:
            return _again(known, request_hash)
        if before is not None:
            before()
            before = None
        try:
            with transaction.atomic():
                made = _reserve(user, key, request_hash)
                made.status, made.answer = act()
                made.save(update_fields=["status", "answer"])
                return Once(made.status, made.answer, replayed=False)
        except _Taken:
            continue
    raise Refused("unavailable", "The first request with this key is still at work.", status=503)


class _Taken(Exception):
    """Another request holds the key; leaves the transaction that its violation has broken."""


def _known(user: User, key: str) -> IdempotencyKey | None:
    return IdempotencyKey.objects.filter(user=user, key=key, created_at__gt=Now() - KEPT).first()


def _reserve(user: User, key: str, request_hash: str) -> IdempotencyKey:
    IdempotencyKey.objects.filter(user=user, key=key, created_at__lte=Now() - KEPT).delete()
    try:
        return IdempotencyKey.objects.create(
            user=user, key=key, request_hash=request_hash, status=0, answer={}
        )
    except IntegrityError:
        raise _Taken from None


def _again(known: IdempotencyKey, request_hash: str) -> Once:
    if known.request_hash != request_hash:
        words = "This Idempotency-Key came with another request before; make a new one."
        raise Refused(
            "idempotency_conflict", words, status=422, errors={"Idempotency-Key": [words]}
        )
    return Once(known.status, known.answer, replayed=True)
