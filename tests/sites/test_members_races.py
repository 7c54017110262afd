"""People who come and go at the same moment: one administrator stays, one link lets one in."""

from __future__ import annotations

import re

import pytest
from django.core import mail

from sites import invitations
from sites.access import roles_of, set_role
from sites.members import remove_member, set_member_role
from sites.models import Membership, Organization, Site, User
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


def test_of_two_who_come_with_one_link_one_joins(
    alice: User, works: Organization, elsewhere: Organization, oscar: User
) -> None:
    """Nor do two links to one address, of two organizations, make two accounts."""
    first = [_link_to("nora@example.com", works, alice)] * 3
    second = [_link_to("nils@example.com", works, alice)]
    second += [_link_to("nils@example.com", elsewhere, oscar)]

    def sign_up(token: str) -> str:
        try:
            invitations.sign_up(token, first_name="N", last_name="", password="eleven small boats")
        except Refused as refusal:
            return refusal.code
        return "joined"

    said = at_once([lambda t=token: sign_up(t) for token in first])  # type: ignore[misc]
    assert sorted(said) == ["joined", "link_over", "link_over"]
    said = at_once([lambda t=token: sign_up(t) for token in second])  # type: ignore[misc]
    assert sorted(said) == ["joined", "log_in"]
    for email in ("nora@example.com", "nils@example.com"):
        assert Membership.objects.filter(user__email=email).count() == 1


def test_who_is_given_a_role_while_being_removed_keeps_none(
    hall: Site, works: Organization
) -> None:
    for turn in range(10):
        user = factories.member(works, f"nils{turn}", "member")
        membership = Membership.objects.select_related("organization", "user").get(user=user)

        def give(user: User = user) -> str:
            try:
                set_role(user, "viewer", on=hall)
            except Refused as refusal:
                return refusal.code
            return "given"

        said = at_once([give, lambda one=membership: remove_member(one)])  # type: ignore[misc]
        assert said[0] in ("given", "invalid")
        assert roles_of(user, works) == []


def _link_to(email: str, organization: Organization, by: User) -> str:
    invitations.send(invitations.invite(organization, email=email, role="member", by=by))
    found = re.search(r"/join/(\S+)", str(mail.outbox[-1].body))
    assert found
    return found[1]
