"""Who goes first where people and roles change: whoever holds the organization."""

from __future__ import annotations

from .models import Organization


def hold(*organizations: int) -> None:
    """Let nobody else change members and roles of these organizations until the transaction ends.

    Takes ids. Comes before any other lock of the transaction: two who lock in different orders
    wait for each other for ever. A run that starts refers to the organization and is not kept
    waiting.
    """
    rows = Organization.objects.select_for_update(no_key=True).filter(pk__in=organizations)
    list(rows.order_by("pk").values_list("pk"))
