"""What a person was given: memberships and object grants, read once per request as ids."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.db import models, transaction

from .. import sql
from ..audit import note, told
from ..events import access_changed
from ..holding import hold
from ..models import (
    Membership,
    Organization,
    SiteGroupPermission,
    SiteUserPermission,
    TargetGroupPermission,
    TargetUserPermission,
    Team,
    User,
)
from ..problems import Refused
from ..sql import Sql

# The four object roles are four verbs, each including those before it.
VERBS = ("view", "operate", "manage", "delete")
OBJECT_ROLES = {"viewer": 1, "editor": 2, "maintainer": 3, "owner": 4}

_TABLES: list[tuple[str, type[models.Model], type[models.Model]]] = [
    ("site", SiteUserPermission, SiteGroupPermission),
    ("target", TargetUserPermission, TargetGroupPermission),
]


def grantable(kind: str, by_user: type[models.Model], by_group: type[models.Model]) -> None:
    """Let an app to the right add a kind of object that roles are granted on."""
    if all(known != kind for known, *_ in _TABLES):
        _TABLES.append((kind, by_user, by_group))


@dataclass
class Grants:
    """What one person may do, as ids. Grants without a membership count for nothing."""

    user: User | AnonymousUser
    _objects: dict[tuple[str, str], frozenset[int]] | None = field(default=None, repr=False)

    @property
    def user_id(self) -> int | None:
        return self.user.pk

    @property
    def active(self) -> bool:
        return bool(self.user.is_authenticated and self.user.is_active)

    @property
    def superuser(self) -> bool:
        return self.active and self.user.is_superuser

    @cached_property
    def roles(self) -> dict[int, str]:
        """Organization id → role."""
        me = self.user_id
        if me is None or not self.active:
            return {}
        return dict(Membership.objects.filter(user_id=me).values_list("organization_id", "role"))

    def organizations(self, *roles: str) -> frozenset[int]:
        """Ids of the organizations in which the person has one of these roles; of any, without."""
        return frozenset(pk for pk, role in self.roles.items() if not roles or role in roles)

    def objects(self, kind: str, verb: str) -> frozenset[int]:
        """Ids of the sites, targets or pools on which the person was granted this verb."""
        if self._objects is None:
            self._objects = self._read_objects()
        return self._objects.get((kind, verb), frozenset())

    def _read_objects(self) -> dict[tuple[str, str], frozenset[int]]:
        if not self.roles:
            return {}
        statement = _every_grant("= %s")
        whom = (self.user_id,) * statement.count("%s")
        return _by_kind(sql.rows(Sql(statement, whom)))


def _by_kind(found: Iterable[tuple[Any, ...]]) -> dict[tuple[str, str], frozenset[int]]:
    """Sort grants, as `_every_grant` gives them, by kind and verb."""
    objects: dict[tuple[str, str], set[int]] = {}
    for _, kind, codename, pk in found:
        objects.setdefault((kind, codename.split("_")[0]), set()).add(pk)
    return {key: frozenset(ids) for key, ids in objects.items()}


@cache
def _every_grant(whom: str) -> str:
    """Spell one query over all grant tables; the people are its every parameter.

    Each request of a member asks it, and Django took 4 ms to compile the same union again.
    """
    members, of_groups = Membership._meta.db_table, User.groups.through._meta.db_table
    whose = {
        "user_id": ("given.user_id", ""),
        "group_id": ("own.user_id", f" JOIN {of_groups} own ON own.group_id = given.group_id"),
    }
    return " UNION ".join(
        f"SELECT {who}, '{kind}', verb.codename, given.content_object_id"
        f" FROM {table._meta.db_table} given{joined}"
        f" JOIN {_object_table(table)} place ON place.id = given.content_object_id"
        f" JOIN {members} member ON member.user_id = {who}"
        " AND member.organization_id = place.organization_id"
        f" JOIN {Permission._meta.db_table} verb ON verb.id = given.permission_id"
        f" WHERE {who} {whom}"
        for kind, *tables in _TABLES
        for table, (who, joined) in zip(tables, whose.values(), strict=True)
    )


def _object_table(table: Any) -> str:
    """Name the table of what the grants of a table are on."""
    return str(table._meta.get_field("content_object").related_model._meta.db_table)


def grants_of(user: User | AnonymousUser) -> Grants:
    """Read a person's grants, once for each user object, which lives as long as the request."""
    known = getattr(user, "_grants", None)
    if known is None:
        known = Grants(user)
        user._grants = known  # type: ignore[union-attr]
    return known


def read_grants(people: Collection[User]) -> None:
    """Read the grants of many people anew, in two queries whatever their number."""
    if not people:
        return
    ids = sorted({one.pk for one in people})
    roles: dict[int, dict[int, str]] = {}
    members = Membership.objects.filter(user__in=ids)
    for user, organization, role in members.values_list("user_id", "organization_id", "role"):
        roles.setdefault(user, {})[organization] = role
    # The condition has one parameter on PostgreSQL, and none on SQLite.
    which = sql.one_of("", ids)
    statement = _every_grant(which.text.strip())
    given: dict[int, list[tuple[Any, ...]]] = {}
    for row in sql.rows(Sql(statement, which.params * statement.count("%s"))):
        given.setdefault(row[0], []).append(row)
    for one in people:
        grants = Grants(one, _objects=_by_kind(given.get(one.pk, ())))
        grants.roles = roles.get(one.pk, {}) if grants.active else {}
        one._grants = grants  # type: ignore[attr-defined]


def _members_of(who: User | Group) -> Iterable[User]:
    return [who] if isinstance(who, User) else User.objects.filter(groups=who)


def _tables_of(on: models.Model) -> tuple[type[models.Model], type[models.Model]]:
    return next(
        (u, g)
        for _, u, g in _TABLES
        if u._meta.get_field("content_object").related_model is type(on)
    )


def roles_on(on: models.Model) -> list[tuple[User | Group, str]]:
    """List who was given which object role on a site, target or pool: people first, then groups."""
    found: list[tuple[User | Group, str]] = []
    for table, column in zip(_tables_of(on), ("user", "group"), strict=True):
        rows = table._default_manager.filter(content_object=on).order_by(column)
        found += _highest(
            rows.select_related("user" if column == "user" else "group__team"), column
        )
    return found


def roles_of(who: User | Group, organization: Organization) -> list[tuple[str, Any, str]]:
    """List the sites, targets and pools of an organization on which someone was given a role.

    Gives kind, object and role of each.
    """
    column = "user" if isinstance(who, User) else "group"
    found: list[tuple[str, Any, str]] = []
    for kind, by_user, by_group in _TABLES:
        table = by_user if column == "user" else by_group
        rows = table._default_manager.filter(
            **{column: who, "content_object__organization": organization}
        )
        highest = _highest(rows.order_by("content_object__name"), "content_object")
        found += [(kind, place, role) for place, role in highest]
    return found


def grantable_places(organization: Organization) -> dict[str, models.QuerySet[Any]]:
    """Give by kind what roles can be given on in an organization."""
    found = {}
    for kind, by_user, _ in _TABLES:
        model: Any = by_user._meta.get_field("content_object").related_model
        rows = model._default_manager.filter(organization=organization).order_by("name", "pk")
        columns = {column.name for column in model._meta.fields}
        found[kind] = rows.filter(**dict.fromkeys(columns & {"archived_at"}))
    return found


def granted_place(organization: Organization, kind: str, public_id: UUID) -> Any:
    """Find what a role is to be given on. Refused 422 where there is no such thing there."""
    place = grantable_places(organization)[kind].filter(public_id=public_id).first()
    if place is None:
        words = f"No such {kind}."
        raise Refused("invalid", words, status=422, errors={"id": [words]})
    return place


def roles_for(on: models.Model | type[models.Model]) -> list[str]:
    """Name the roles that are told apart on a site, target or pool: a pool can only be chosen."""
    verbs = {codename.split("_")[0] for codename, _ in on._meta.permissions}
    return [role for role, level in OBJECT_ROLES.items() if VERBS[level - 1] in verbs]


def _highest(rows: models.QuerySet[Any], column: str) -> list[tuple[Any, str]]:
    """Give what grants name in this column, each once, with the highest role of them."""
    highest: dict[Any, int] = {}
    for row in rows.select_related(column, "permission"):
        one, verb = getattr(row, column), row.permission.codename.split("_")[0]
        if verb in VERBS:
            highest[one] = max(highest.get(one, 0), VERBS.index(verb) + 1)
    names = {level: role for role, level in OBJECT_ROLES.items()}
    return [(one, names[level]) for one, level in highest.items()]


def name_of(who: User | Group) -> str:
    """Name a person, or a group as what it is in its organization: a team."""
    team = getattr(who, "team", None)
    return str(team or who)


def groups_for(on: Any, *, by: User) -> models.QuerySet[Group]:
    """List the groups that a person may give a role on this object, or take one from.

    Those are the teams of its organization. Groups that are no team belong to no organization:
    superusers give them roles, others take those away.
    """
    given = [who.pk for who, _ in roles_on(on) if isinstance(who, Group)] if on.pk else []
    offered = models.Q(team__organization=on.organization) | models.Q(pk__in=given)
    if grants_of(by).superuser:
        offered |= models.Q(team=None)
    return Group.objects.filter(offered).select_related("team").order_by("team__name", "name")


def gives_roles_to(group: Group, *, by: User) -> bool:
    """Say whether a person may give a group a role, too, not only take it away."""
    return grants_of(by).superuser or Team.objects.filter(group=group).exists()


def withdraw_roles(user: User, organization: Organization) -> None:
    """Take every object role that a person was given in an organization, alone or with a team."""
    user.groups.remove(*user.groups.filter(team__organization=organization))
    for _, by_user, _ in _TABLES:
        by_user._default_manager.filter(
            user=user, content_object__organization=organization
        ).delete()


def _check_role(who: User | Group, role: str | None, on: Any) -> None:
    if role and role not in roles_for(on):
        known = ", ".join(roles_for(on))
        words = f"On a {on._meta.verbose_name} there is the role {known} alone."
        raise Refused("invalid", words, status=422, errors={"role": [words]})
    others = Team.objects.exclude(organization=on.organization)
    if isinstance(who, Group) and others.filter(group=who).exists():
        words = f"A team of another organization is given nothing in {on.organization}."
        raise Refused("invalid", words, status=422, errors={"group": [words]})


def set_role(who: User | Group, role: str | None, *, on: models.Model) -> None:
    """Give a user or group exactly this object role on a site, target or pool; None takes it away.

    Also writes the Event that ends the live connections of the people concerned, and the change
    into the audit log; where it changes nothing, nothing is written. Refused 422 for a role that is
    none there, for somebody who is no member and for a team of another organization; 409 for a team
    that is gone. Holds the organization: a caller that locks anything else holds it first.
    """
    _check_role(who, role, on)
    by_user, by_group = _tables_of(on)
    table, column = (by_user, "user") if isinstance(who, User) else (by_group, "group")
    codenames = [
        f"{verb}_{on._meta.model_name}" for verb in VERBS[: OBJECT_ROLES[role] if role else 0]
    ]
    permissions = Permission.objects.filter(
        content_type__app_label=on._meta.app_label,
        content_type__model=on._meta.model_name,
        codename__in=codenames,
    )
    organization: Organization = on.organization  # type: ignore[attr-defined]
    with transaction.atomic():
        # Who is removed or deleted meanwhile must not keep what is given here.
        hold(organization.pk)
        if role:
            _check_there(who, organization)
        before = next((known for one, known in roles_on(on) if one == who), "")
        if before == (role or ""):
            return
        note(on, f"role of {told(name_of(who), who)}", before, role or "")
        table._default_manager.filter(content_object=on, **{column: who}).delete()
        table._default_manager.bulk_create(
            [table(content_object=on, permission=p, **{column: who}) for p in permissions]
        )
        access_changed(_members_of(who), organization=organization)


def _check_there(who: User | Group, organization: Organization) -> None:
    if isinstance(who, Group):
        if not Group.objects.select_for_update(no_key=True).filter(pk=who.pk).exists():
            raise Refused("no_team", f"Team “{name_of(who)}” was deleted just now.")
    elif not Membership.objects.filter(user=who, organization=organization).exists():
        words = f"{who} is no member of {organization}."
        raise Refused("invalid", words, status=422, errors={"user": [words]})
