"""People who come and go at the same moment: one administrator stays, one link lets one in."""

from __future__ import annotations

import re

import pytest
from django.core import mail

from agents import pools
from agents.models import AgentPool
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

    def sign_up(token: str) -> str:
        try:
            invitations.sign_up(token, first_name="N", last_name="", password="eleven small boats")
        except Refused as refusal:
            return refusal.code
        return "joined"

    said = at_once([lambda t=token: sign_up(t) for token in first])  # type: ignore[misc]
    assert sorted(said) == ["joined", "link_over", "link_over"]
    emails = [f"nils{turn}@example.com" for turn in range(5)]
    for email in emails:
        second = [_link_to(email, works, alice), _link_to(email, elsewhere, oscar)]
        said = at_once([lambda t=token: sign_up(t) for token in second])  # type: ignore[misc]
        assert sorted(said) == ["joined", "log_in"]
    for email in ("nora@example.com", *emails):
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


def test_who_joins_while_the_sender_is_demoted_joins_or_is_told(
    alice: User, works: Organization, hall: Site
) -> None:
    """Neither waits for the other for ever."""
    factories.member(works, "adam", "administrator")
    for turn in range(10):
        sender = factories.member(works, f"sender{turn}", "administrator")
        email = f"nora{turn}@example.com"
        invited = invitations.invite(
            works, email=email, role="member", by=sender, site_roles=[(hall, "viewer")]
        )
        invitations.send(invited)
        token = _token_of_last_mail()
        membership = Membership.objects.select_related("organization", "user").get(user=sender)

        def sign_up(token: str = token) -> str:
            try:
                invitations.sign_up(token, first_name="N", last_name="", password="eleven boats")
            except Refused as refusal:
                return refusal.code
            return "joined"

        demote = [lambda one=membership: set_member_role(one, "member")]
        said = at_once([sign_up, *demote])
        assert said[0] in ("joined", "link_over")
        joined = Membership.objects.filter(user__email=email).exists()
        assert joined is (said[0] == "joined")


def test_a_pool_is_saved_while_a_role_on_it_is_given(works: Organization, mia: User) -> None:
    for turn in range(10):
        pool = pools.save_pool(AgentPool(organization=works, name=f"Pool {turn}"), choosers=[])
        at_once(
            [
                lambda one=pool, n=turn: pools.save_pool(one, name=f"Pool {n}b", choosers=[mia]),  # type: ignore[misc]
                lambda one=pool: set_role(mia, "editor", on=one),  # type: ignore[misc]
            ]
        )
        assert pools.choosers_of(pool) == [mia]


def _link_to(email: str, organization: Organization, by: User) -> str:
    invitations.send(invitations.invite(organization, email=email, role="member", by=by))
    return _token_of_last_mail()


def _token_of_last_mail() -> str:
    found = re.search(r"/join/(\S+)", str(mail.outbox[-1].body))
    assert found
    return found[1]
