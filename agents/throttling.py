"""How many enrolment codes one address may get wrong before it has to wait."""

from __future__ import annotations

from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now

from .models import WrongCodes

MOST = 20
MINUTE = timedelta(minutes=1)


def take(address: str) -> bool:
    """Count a try of this address; False when it had its twenty in this minute already.

    Counted before the code is looked at, each time in one conditional update: of a hundred
    requests at once twenty get through. Whoever's code was right gives the try back.
    """
    mine = WrongCodes.objects.filter(address=address)
    while True:
        # Read first: one that is over its limit must not hold up others by writing.
        if mine.filter(until__gt=Now(), count__gte=MOST).exists():
            return False
        if mine.filter(until__lte=Now()).update(count=1, until=Now() + MINUTE):
            return True
        if mine.filter(until__gt=Now(), count__lt=MOST).update(count=F("count") + 1):
            return True
        if mine.exists():
            continue  # its last try, or its minute, has gone since it was read
        WrongCodes.objects.filter(until__lt=Now() - MINUTE).delete()
        try:
            with transaction.atomic():
                WrongCodes.objects.create(address=address, until=Now() + MINUTE)
            return True
        except IntegrityError:
            continue  # another request of this address has made the row: count there


def give_back(address: str) -> None:
    """Take a counted try back: it was no wrong code."""
    WrongCodes.objects.filter(address=address, count__gt=0).update(count=F("count") - 1)
