"""Who belongs to an organization and as what: never without an administrator, always announced."""

from __future__ import annotations

from django.db import transaction

from .access import withdraw_roles
from .events import access_changed
from .models import Membership, Organization, Role, User
from .problems import Refused


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
        access_changed([user], organization=organization)
    return membership


def set_member_role(membership: Membership, role: str) -> None:
    """Give a member another role. Refused 409 where that would leave no administrator."""
    with transaction.atomic():
        _keep_an_administrator(membership, leaving=role != Role.ADMINISTRATOR)
        membership.role = role
        membership.save(update_fields=["role"])
        access_changed([membership.user], organization=membership.organization)


def remove_member(membership: Membership) -> None:
    """End a membership, and with it every object role that the person was given there.

    Refused 409 for the last administrator. Jobs and runs of the person stay.
    """
    user, organization = membership.user, membership.organization
    with transaction.atomic():
        _keep_an_administrator(membership, leaving=True)
        membership.delete()
        # Would otherwise be back, unseen, on the day on which the person becomes a member again.
        withdraw_roles(user, organization)
        access_changed([user], organization=organization)


def account_changed(user: User) -> None:
    """Say in all organizations of a person that the account was opened, closed or raised."""
    with transaction.atomic():
        for membership in user.memberships.select_related("organization"):
            access_changed([user], organization=membership.organization)


def _keep_an_administrator(membership: Membership, *, leaving: bool) -> None:
    """Refuse to take the last active administrator; two who leave at once are serial."""
    Organization.objects.select_for_update().get(pk=membership.organization_id)
    others = Membership.objects.filter(
        organization=membership.organization_id, role=Role.ADMINISTRATOR, user__is_active=True
    ).exclude(pk=membership.pk)
    was = Membership.objects.filter(pk=membership.pk, role=Role.ADMINISTRATOR).exists()
    if leaving and was and not others.exists():
        raise Refused(
            "last_administrator",
            f"{membership.user} is the last administrator of {membership.organization}; "
            "make somebody else one first.",
        )
