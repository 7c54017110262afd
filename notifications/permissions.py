"""Who sees what people were told: they themselves, while they may see what it is about."""

from django.db.models import Q

from jobs.permissions import run_policy
from sites.access import ADMINISTRATOR, Grants, Policy, Rule, by_role, superuser
from sites.models import Membership, Role

from .models import Channel, Notification, Subscription


def _told_oneself(rule: Rule) -> Rule:
    """Of what one was told, that which the rule lets one see."""

    def own(grants: Grants) -> Q | None:
        q = rule(grants)
        return None if q is None else q & Q(recipient=grants.user_id)

    return own


# What a notification is about is seen by the rules of runs, whose columns it has.
_OWN = [_told_oneself(rule) for rule in run_policy.table["view"]]

notification_policy = Policy(
    Notification, {"view": [*_OWN, ADMINISTRATOR, superuser], "read": _OWN}
)


def _own_choice(grants: Grants) -> Q | None:
    return Q(user=grants.user_id) if grants.active else None


subscription_policy = Policy(
    Subscription,
    {
        "view": [
            _own_choice,
            by_role(Role.ADMINISTRATOR, organization="site__organization"),
            superuser,
        ]
    },
)


def _of_members(grants: Grants) -> Q | None:
    ids = grants.organizations(Role.ADMINISTRATOR)
    members = Membership.objects.filter(organization__in=ids).values("user")
    return Q(user__in=members) if ids else None


channel_policy = Policy(Channel, {"view": [_own_choice, _of_members, superuser]})
