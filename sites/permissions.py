"""Who may do what with organizations, sites, targets and snapshots, and read of their changes."""

from functools import reduce
from operator import or_

from auditlog import get_logentry_model
from auditlog.registry import auditlog
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q, QuerySet

from .access import (
    ADMINISTRATOR,
    MANAGER,
    Grants,
    Policy,
    Rule,
    by_grant,
    by_person,
    by_role,
    superuser,
)
from .models import (
    AccessToken,
    Credential,
    Event,
    Invitation,
    Membership,
    Organization,
    Role,
    Site,
    Snapshot,
    Target,
    Team,
    User,
)

_own_organization = by_role(organization="pk")
_administered = by_role(Role.ADMINISTRATOR, organization="pk")

organization_policy = Policy(
    Organization,
    {
        "view": [_own_organization, superuser],
        # members and roles, agents without a site, sources, credentials, keys
        "manage": [_administered, superuser],
        "create_site": [_administered, superuser],
    },
)

membership_policy = Policy(
    Membership,
    {
        # Members know that there are others, and read of themselves alone.
        "view": [by_role(), superuser],
        "inspect": [by_person("user"), ADMINISTRATOR, superuser],
        "manage": [ADMINISTRATOR, superuser],
    },
)

invitation_policy = Policy(
    Invitation, {"view": [ADMINISTRATOR, superuser], "manage": [ADMINISTRATOR, superuser]}
)

team_policy = Policy(
    Team, {"view": [ADMINISTRATOR, superuser], "manage": [ADMINISTRATOR, superuser]}
)


def _site_of_granted_target(grants: Grants) -> Q | None:
    """A role on one target lets one see the site that it stands at, by name."""
    ids = grants.objects("target", "view")
    return Q(pk__in=Target.objects.filter(pk__in=ids).values("site")) if ids else None


site_policy = Policy(
    Site,
    {
        "view": [
            by_grant("view", "site", "pk"),
            _site_of_granted_target,
            MANAGER,
            ADMINISTRATOR,
            superuser,
        ],
        "create_target": [by_grant("operate", "site", "pk"), ADMINISTRATOR],
        # settings, grants, its agents and keys
        "manage": [by_grant("manage", "site", "pk"), ADMINISTRATOR, superuser],
        "delete": [by_grant("delete", "site", "pk"), ADMINISTRATOR, superuser],
    },
)


def managed_sites(user: User, organization: Organization) -> QuerySet[Site]:
    """Give the sites in use of an organization that the person manages."""
    return site_policy.rows(user, "manage", organization.sites.in_use())


def manages_somewhere(user: User, organization: Organization) -> bool:
    """Say whether the person manages the organization or a site of it: who does adds agents and
    credentials there.
    """
    return (
        organization_policy.allows(user, "manage", organization)
        or managed_sites(user, organization).exists()
    )


def _granted(verb: str) -> list[Rule]:
    """Rows granted on their target or on its site."""
    return [by_grant(verb, "target", "pk"), by_grant(verb, "site", "site")]


target_policy = Policy(
    Target,
    {
        "view": [*_granted("view"), MANAGER, ADMINISTRATOR, superuser],
        # what lies behind name and kind: address and settings, files, snapshots
        "inspect": [*_granted("view"), ADMINISTRATOR, superuser],
        "edit": [*_granted("operate"), ADMINISTRATOR],
        "create_job": [*_granted("operate"), MANAGER, ADMINISTRATOR],
        "manage": [*_granted("manage"), ADMINISTRATOR, superuser],
        "delete": [*_granted("delete"), ADMINISTRATOR, superuser],
    },
)


def _on_edited_target(grants: Grants) -> Q | None:
    """The credentials that stand where the person edits: their names, to know what runs use."""
    targets, sites = grants.objects("target", "operate"), grants.objects("site", "operate")
    if not targets and not sites:
        return None
    edited = Target.objects.filter(Q(pk__in=targets) | Q(site__in=sites))
    return Q(pk__in=edited.exclude(credential=None).values("credential"))


credential_policy = Policy(
    Credential,
    {
        "view": [_on_edited_target, by_grant("manage", "site", "site"), ADMINISTRATOR, superuser],
        # Also to put it on a target: who may do that may have it sent wherever the target is.
        "manage": [by_grant("manage", "site", "site"), ADMINISTRATOR, superuser],
    },
)


snapshot_policy = Policy(
    Snapshot,
    {
        "view": [
            by_grant("view", "target", "target"),
            by_grant("view", "site", "target__site"),
            by_person("created_by"),
            ADMINISTRATOR,
            superuser,
        ],
        "accept": [
            by_grant("operate", "target", "target"),
            by_grant("operate", "site", "target__site"),
            ADMINISTRATOR,
        ],
    },
)

event_policy = Policy(
    Event, {"view": [by_role(Role.ADMINISTRATOR, organization="organization_id"), superuser]}
)


def _own_user(grants: Grants) -> Q | None:
    return Q(user=grants.user_id) if grants.active else None


def _oneself(grants: Grants) -> Q | None:
    return Q(pk=grants.user_id) if grants.active else None


def _colleagues(grants: Grants) -> Q | None:
    """The members of the organizations that the person administers."""
    ids = grants.organizations(Role.ADMINISTRATOR)
    members = Membership.objects.filter(organization__in=ids).values("user")
    return Q(pk__in=members) if ids else None


token_policy = Policy(AccessToken, {"view": [_own_user], "revoke": [_own_user]})
user_policy = Policy(User, {"view": [_oneself, _colleagues, superuser], "manage": [superuser]})


def _no_team(grants: Grants) -> Q | None:
    return Q(team=None) if grants.superuser else None


# Groups are for superusers; those of teams are seen as teams by who administers them.
group_policy = Policy(Group, {"view": [superuser], "manage": [_no_team]})

LogEntry = get_logentry_model()


def _changes_there(grants: Grants) -> Q | None:
    """The recorded changes of what the person's organizations have; of tokens, which are each
    person's own, none.
    """
    ids = grants.organizations(Role.ADMINISTRATOR)
    if not ids:
        return None
    # Of these an entry says itself where it belongs: their rows are deleted.
    gone = [_type_of(model) for model in (Membership, Team)]
    found = [Q(content_type__in=gone, additional_data__organization__in=ids)]
    for model in auditlog.get_models():
        if model is Organization:
            found.append(Q(content_type=_type_of(model), object_id__in=ids))
        elif model is not AccessToken:
            rows = model._default_manager.filter(organization__in=ids).values("pk")
            found.append(Q(content_type=_type_of(model), object_id__in=rows))
    return reduce(or_, found)


def _type_of(model: type[Model]) -> ContentType:
    return ContentType.objects.get_for_model(model)


log_policy = Policy(LogEntry, {"view": [_changes_there, superuser]})
