"""Who belongs to an organization and as what: never without an administrator, always announced."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from . import access_tokens
from .access import withdraw_roles
from .events import access_changed
from .holding import hold
from .models import Invitation, Membership, Organization, Role, User
from .naming import some_of
from .problems import Refused


class Holding(NamedTuple):
    """What an app to the right keeps in the name of a member.

    `names` lists it for people; `hand_over` gives it from the first to the second, or refuses.
    """

    names: Callable[[Membership], list[str]]
    hand_over: Callable[[Membership, Membership], None]


# Filled by apps to the right.
_holdings: list[Holding] = []


def holds(holding: Holding) -> None:
    """Let an app to the right say what another member takes over from one who leaves."""
    if holding not in _holdings:
        _holdings.append(holding)


def held_by(membership: Membership) -> list[str]:
    """Name what another member has to take over before this one can leave."""
    return [name for holding in _holdings for name in holding.names(membership)]


def add_member(organization: Organization, user: User, role: str) -> Membership:
    """Make a person a member. Refused 422 for someone who is one already."""
    with transaction.atomic():
        membership, made = Membership.objects.get_or_create(
            organization=organization, user=user, defaults={"role": role}
        )
        if not made:
            raise Refused(
                "member_already", f"{user} belongs to {organization} already.", status=422
            )
        _end_invitations(organization, to=user)
        access_changed([user], organization=organization)
    return membership


def set_member_role(membership: Membership, role: str) -> Membership:
    """Give a member another role. Refused 409 where that would leave no administrator."""
    with transaction.atomic():
        member = locked_member(membership)
        if role != Role.ADMINISTRATOR:
            _keep_an_administrator(member)
            _end_invitations(member.organization, by=member.user)
        member.role = role
        member.save(update_fields=["role"])
        access_changed([member.user], organization=member.organization)
    return member


def remove_member(membership: Membership, *, successor: Membership | None = None) -> None:
    """End a membership, and with it every object role that the person was given there.

    What they hold goes to the successor, another member who may use it; runs keep their starter.
    Access tokens end with the last membership: until then they reach what is left. Refused 409 for
    the last administrator, and 422 without a successor where one is needed.
    """
    with transaction.atomic():
        member = locked_member(membership)
        _keep_an_administrator(member)
        _hand_over(member, successor)
        user, organization = member.user, member.organization
        member.delete()
        _end_invitations(organization, by=user, to=user)
        # Would otherwise be back, unseen, on the day on which the person becomes a member again.
        withdraw_roles(user, organization)
        if not user.is_superuser and not user.memberships.exists():
            access_tokens.revoke_all_of(user)
        access_changed([user], organization=organization)


def keep_administrators(user: User) -> None:
    """Refuse to close the account of an organization's last administrator.

    Call in the transaction that closes it: no other administrator leaves meanwhile.
    """
    for membership in user.memberships.order_by("organization"):
        _keep_an_administrator(locked_member(membership))


def keep_a_superuser(user: User) -> None:
    """Refuse to close or lower the last superuser who can log in: only a command makes another.

    Call in the transaction that does it, after `keep_administrators`: no other one goes meanwhile.
    """
    left = User.objects.select_for_update(no_key=True).filter(is_superuser=True, is_active=True)
    if list(left.order_by("pk").values_list("pk", flat=True)) == [user.pk]:
        raise Refused(
            "last_superuser", f"{user} is the last superuser; make somebody else one first."
        )


def account_changed(user: User) -> None:
    """Say in all organizations of a person that the account was opened, closed or raised."""
    with transaction.atomic():
        for membership in user.memberships.select_related("organization"):
            access_changed([user], organization=membership.organization)


def locked_member(membership: Membership) -> Membership:
    """Read a membership as it is, after all who change members of the organization before us.

    Call inside a transaction, before anything else is locked.
    """
    hold(membership.organization_id)
    members = Membership.objects.select_related("organization", "user")
    found = members.filter(pk=membership.pk).first()
    if found is None:
        words = f"{membership.user} does not belong to {membership.organization} any more."
        raise Refused("no_member", words)
    return found


def _end_invitations(
    organization: Organization, *, by: User | None = None, to: User | None = None
) -> None:
    """Revoke the open invitations that somebody sent, or that were sent to them.

    A link would else let in whom nobody asks who may, or bring back who was removed.
    """
    theirs = Q(invited_by=by) if by is not None else Q()
    if to is not None and to.email:
        theirs |= Q(email=to.email.lower())
    if theirs:
        waiting = Invitation.objects.filter(
            organization=organization, accepted_at=None, revoked_at=None
        )
        waiting.filter(theirs).update(revoked_at=Now())


def _keep_an_administrator(member: Membership) -> None:
    """Refuse to take the last administrator who can log in. The caller holds the organization."""
    others = Membership.objects.filter(
        organization=member.organization_id, role=Role.ADMINISTRATOR, user__is_active=True
    ).exclude(pk=member.pk)
    if member.role == Role.ADMINISTRATOR and not others.exists():
        raise Refused(
            "last_administrator",
            f"{member.user} is the last administrator of {member.organization}; "
            "make somebody else one first.",
        )


def _hand_over(member: Membership, successor: Membership | None) -> None:
    """Give what a member holds to the successor. The caller holds the organization."""
    if successor is None:
        if held := held_by(member):
            names = some_of([f"“{name}”" for name in held])
            raise Refused(
                "successor_needed",
                f"{member.user} is the owner of {names}: another member has to take over.",
                status=422,
                errors={"successor": ["Name the member; the portal's page Members asks for one."]},
            )
        return
    heirs = Membership.objects.select_related("user").filter(
        organization=member.organization_id, user__is_active=True
    )
    heir = heirs.exclude(pk=member.pk).filter(pk=successor.pk).first()
    if heir is None:
        words = f"Name another member of {member.organization} who can log in."
        raise Refused("invalid", words, status=422, errors={"successor": [words]})
    for holding in _holdings:
        holding.hand_over(member, heir)
