"""How old a newest good backup may become: where it is set, and by whom."""

from __future__ import annotations

from typing import Any

import pytest

from sites.importing import bring_in
from sites.models import Site, Target, User
from sites.target_sheet import TARGETS
from tests.pages import admin_path, as_, filled, html
from tests.people import API

pytestmark = pytest.mark.django_db


def test_a_recovery_point_is_set_at_every_door(
    hall: Site, press: Target, alice: User, edda: User
) -> None:
    """Of a site by who manages it, of a target by who edits it; null gives it back."""
    site, target = f"sites/{hall.public_id}", f"targets/{press.public_id}"
    assert API(alice).patch(site, {"recovery_point_h": 24}).json()["recovery_point_h"] == 24
    assert API(edda).patch(site, {"recovery_point_h": 1}).status_code == 403
    assert API(edda).patch(target, {"recovery_point_h": 8}).json()["recovery_point_h"] == 8
    for wrong in (0, -1, 8761, "a day", 1.5, True):
        answer = API(edda).patch(target, {"recovery_point_h": wrong})
        assert answer.status_code == 422, wrong
        assert "recovery_point_h" in answer.json()["errors"]
    assert API(edda).patch(target, {"recovery_point_h": None}).json()["recovery_point_h"] is None
    made = API(edda).post(
        "targets", {"site": str(hall.public_id), "name": "New", "recovery_point_h": 2}
    )
    assert made.json()["recovery_point_h"] == 2
    admin = admin_path(hall, "change", hall.pk)
    filled_in = filled(html(alice, admin)) | {"recovery_point_h": "48"}
    assert as_(alice).post(admin, filled_in).status_code == 302
    hall.refresh_from_db()
    assert hall.recovery_point_h == 48


@pytest.mark.parametrize(
    ("cell", "becomes", "what"),
    [("24", 24, "changed: recovery_point_h"), ("8", 8, "as it was"), ("", None, "changed")],
)
def test_a_sheet_of_targets_says_it_too(
    press: Target, alice: User, cell: str, becomes: int | None, what: str
) -> None:
    """An empty cell gives it back to the site; a file without the column changes nothing."""
    Target.objects.update(recovery_point_h=8)
    row = {"id": str(press.public_id), "recovery_point_h": cell}

    def everything(found: Any) -> Any:
        return found

    [came] = bring_in([(2, row)], TARGETS, by=alice, scope=everything, keep=True)
    assert came.errors == []
    assert came.what.startswith(what)
    press.refresh_from_db()
    assert press.recovery_point_h == becomes
    del row["recovery_point_h"]
    [came] = bring_in([(2, row)], TARGETS, by=alice, scope=everything, keep=True)
    assert came.what == "as it was"
    [came] = bring_in(
        [(2, row | {"recovery_point_h": "0"})], TARGETS, by=alice, scope=everything, keep=True
    )
    assert came.errors
