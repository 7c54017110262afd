"""How much an organization keeps, how much it may, and who is refused over it.

Counted are the files of runs, inputs and the large contents of snapshots, each blob once, and of
each target what git holds of its snapshots, packed, as it was after the last of them.
Every change holds the organization's row in `StorageUse`, so the sum is that of its stored files at
any moment, however many come and go at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import islice

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.template.defaultfilters import filesizeformat

from .models import Membership, Organization, StorageUse, StoredFile, User
from .problems import Refused

MEGABYTE = 1024 * 1024


def limit_of(organization: Organization) -> int | None:
    """Give the limit in bytes: the organization's own, else the installation's; None for none."""
    megabytes = organization.storage_limit_mb
    if megabytes is None:
        megabytes = settings.STORAGE_LIMIT_MB
    return megabytes * MEGABYTE if megabytes else None


def used_by(organization: Organization) -> int:
    """Give the bytes that an organization keeps."""
    try:
        return organization.storage_use.bytes
    except StorageUse.DoesNotExist:
        return 0


def require_room(organization_id: int, size: int, *, name: str = "") -> None:
    """See that so many bytes fit, before they are taken; Refused 422 `quota_exceeded` else.

    What is stored under `name` already needs no room.
    """
    organization = Organization.objects.select_related("storage_use").get(pk=organization_id)
    if not _fits(organization, size) and not StoredFile.objects.filter(name=name).exists():
        raise _exceeded(organization, size, used_by(organization))


def require_room_somewhere(person: User, size: int) -> None:
    """See that so many bytes fit in one of the person's organizations, the one not being known."""
    theirs = [
        one.organization
        for one in Membership.objects.filter(user=person).select_related(
            "organization__storage_use"
        )
    ]
    if theirs and not any(_fits(one, size) for one in theirs):
        raise _exceeded(theirs[0], size, used_by(theirs[0]))


def count_in(organization_id: int, name: str, size: int) -> None:
    """Count a blob that has just been stored; the same name again counts once.

    Refused 422 `quota_exceeded` when others took the room meanwhile: the blob is swept then.
    """
    with transaction.atomic():
        use = _held(organization_id)
        limit, before = limit_of(use.organization), use.bytes
        if _is_new(use, name, size) and limit is not None and use.bytes > limit:
            raise _exceeded(use.organization, size, before)


def count_out(names: Collection[str]) -> None:
    """Count blobs no more; they may be deleted when this has been committed."""
    known = StoredFile.objects.filter(name__in=names)
    for organization_id in sorted(set(known.values_list("organization_id", flat=True))):
        with transaction.atomic():
            use = _held(organization_id)
            theirs = known.filter(organization_id=organization_id)
            use.bytes = max(0, use.bytes - (theirs.aggregate(sum=Sum("size"))["sum"] or 0))
            theirs.delete()
            use.save(update_fields=["bytes"])


def count_as(organization_id: int, name: str, measure: Callable[[], int]) -> None:
    """Count what is kept under one name, and grows and shrinks, with the size it has now.

    Nothing is refused: it is there already.
    """
    counted = StoredFile.objects.filter(name=name).values_list("size", flat=True).first()
    if (counted or 0) == measure():
        return
    with transaction.atomic():
        use = _held(organization_id)
        # Of two who measure, the last to count is the last to have looked.
        size = measure()
        known = StoredFile.objects.filter(name=name).first() or StoredFile(
            organization_id=organization_id, name=name, size=0
        )
        use.bytes = max(0, use.bytes - known.size + size)
        known.size = size
        known.save()
        use.save(update_fields=["bytes"])


def recount(stored: Iterable[tuple[str, int]]) -> None:
    """Count in what is stored uncounted, and sum every organization's files anew.

    `stored` gives names, each `<kind>/<organization>/…`, and sizes. What is older than these
    counts, or was stored by a process that died before it counted, is found here.
    """
    organizations: dict[str, int] = {
        str(public_id): pk for pk, public_id in Organization.objects.values_list("pk", "public_id")
    }
    uncounted = iter(stored)
    while some := dict(islice(uncounted, 500)):
        known = StoredFile.objects.filter(name__in=some).values_list("name", flat=True)
        for name in some.keys() - set(known):
            if organization_id := organizations.get(name.partition("/")[2].partition("/")[0]):
                with transaction.atomic():
                    _is_new(_held(organization_id), name, some[name])
    for organization_id in organizations.values():
        with transaction.atomic():
            use = _held(organization_id)
            theirs = StoredFile.objects.filter(organization_id=organization_id)
            use.bytes = theirs.aggregate(sum=Sum("size"))["sum"] or 0
            use.save(update_fields=["bytes"])


def _held(organization_id: int) -> StorageUse:
    """Hold the organization's row until the transaction ends, or make it."""
    StorageUse.objects.get_or_create(organization_id=organization_id)
    return (
        StorageUse.objects.select_for_update(of=("self",))
        .select_related("organization")
        .get(organization_id=organization_id)
    )


def _is_new(use: StorageUse, name: str, size: int) -> bool:
    """Count a blob where it is not counted yet; the row must be held."""
    if StoredFile.objects.filter(name=name).exists():
        return False
    StoredFile.objects.create(organization_id=use.organization_id, name=name, size=size)
    use.bytes += size
    use.save(update_fields=["bytes"])
    return True


def _fits(organization: Organization, size: int) -> bool:
    limit = limit_of(organization)
    return limit is None or used_by(organization) + size <= limit


def _exceeded(organization: Organization, size: int, used: int) -> Refused:
    limit = limit_of(organization)
    # How large it will be is not always known before.
    lacks = (
        f"there is no room for {_read(size)} more"
        if size
        else "nothing more is taken until it keeps less"
    )
    return Refused(
        "quota_exceeded",
        f"{organization} keeps {_read(used)} of the {_read(limit or 0)} that it may: {lacks}. "
        "Ask whoever runs this portal for a higher limit.",
        status=422,
        used=used,
        limit=limit,
    )


def _read(size: int) -> str:
    return str(filesizeformat(size)).replace("\xa0", " ")
