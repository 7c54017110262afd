"""How targets leave as CSV and come back: without their secrets."""

from __future__ import annotations

import json
from typing import Any

from .importing import (
    CHANGED,
    NEW,
    SAME,
    Row,
    Scope,
    Sheet,
    document,
    known,
    named,
    number,
    stays,
    within,
)
from .masking import masked
from .models import Site, Target, User
from .permissions import site_policy, target_policy
from .places import save_target


def _tell(target: Target) -> list[Any]:
    return [
        target.public_id,
        target.organization,
        target.site,
        target.name,
        target.kind,
        target.address,
        json.dumps(masked(target.settings), ensure_ascii=False),
        target.recovery_point_h,
    ]


def _take(row: Row, by: User, scope: Scope) -> tuple[str, str]:
    """Store a new target, or what of one that is there differs from its row."""
    rows = scope(Target.objects.select_related("organization", "site", "credential"))
    target: Target | None = known(row, target_policy, "edit", by, rows)
    settings = document(row, "settings")
    if target is None:
        open_ones = scope(Site.objects.filter(archived_at=None).select_related("organization"))
        sites = within(row, "organization", site_policy.rows(by, "create_target", open_ones))
        site: Site = named(row, "site", sites, needed=True)
        made = Target(
            organization=site.organization,
            site=site,
            name=row.get("name", "").strip(),
            kind=row.get("kind", "").strip() or Target.Kind.DEVICE,
            address=row.get("address", "").strip(),
            settings=settings or {},
            recovery_point_h=number(row, "recovery_point_h"),
            created_by=by,
        )
        return save_target(made).name, NEW
    for column in ("organization", "site", "kind"):
        stays(row, column, getattr(target, column))
    sent = {name: row[name].strip() for name in ("name", "address") if name in row}
    changes: dict[str, Any] = {
        name: text for name, text in sent.items() if text != getattr(target, name)
    }
    if settings is not None and settings != masked(target.settings):
        changes["settings"] = settings
    if "recovery_point_h" in row and number(row, "recovery_point_h") != target.recovery_point_h:
        changes["recovery_point_h"] = number(row, "recovery_point_h")
    if not changes:
        return target.name, SAME
    words = f"{CHANGED}: {', '.join(changes)}"
    return save_target(target, **changes).name, words


TARGETS = Sheet(
    ("id", "organization", "site", "name", "kind", "address", "settings", "recovery_point_h"),
    _tell,
    _take,
)
