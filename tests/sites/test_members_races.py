"""Administrators who change each other at the same moment: one stays, whatever the order."""

from __future__ import annotations

import pytest

from sites.members import remove_member, set_member_role
from sites.models import Membership, Organization, User
from sites.problems import Refused
from tests import factories
from tests.web import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


def test_of_two_who_take_each_others_role_one_stays(alice: User, works: Organization) -> None:
    adam = factories.member(works, "adam", "administrator")
    for turn in range(6):
        # Each leaves in another way: demoted, or removed.
        def leave(user: User, removed: bool) -> str:
            membership = Membership.objects.select_related("organization", "user").get(user=user)
            try:
                if removed:
                    remove_member(membership)
                else:
                    set_member_role(membership, "member")
            except Refused as refusal:
                return refusal.code
            return "left"

        said = at_once(
            [lambda: leave(alice, turn % 2 == 1), lambda: leave(adam, turn % 3 == 1)]  # noqa: B023
        )
        assert sorted(said) == ["last_administrator", "left"]
        assert Membership.objects.filter(organization=works, role="administrator").count() == 1
        for user in (alice, adam):
            Membership.objects.update_or_create(
                organization=works, user=user, defaults={"role": "administrator"}
            )
