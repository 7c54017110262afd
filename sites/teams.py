"""Which members are given roles together: a team is of one organization, and so is all it has."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.db.models import Prefetch, QuerySet

from .audit import note, told
from .events import access_changed
from .members import locked_member
from .models import Membership, Organization, Team, User
from .problems import Refused


def add_team(organization: Organization, name: str) -> Team:
    """Make a team without people. Refused 422 for a name that another one has."""
    team = Team(organization=organization, name=name)
    try:
        with transaction.atomic():
            team.group = Group.objects.create(name=_group_name(team))
            team.save()
    except IntegrityError:
        raise _taken(name) from None
    return team


def rename_team(team: Team, name: str) -> Team:
    """Give a team another name. Refused 422 for one that another team has."""
    try:
        with transaction.atomic():
            there = _locked(team)
            there.name = name
            there.save(update_fields=["name"])
            Group.objects.filter(pk=there.group_id).update(name=_group_name(there))
    except IntegrityError:
        raise _taken(name) from None
    return there


def delete_team(team: Team) -> None:
    """End a team with every role that it was given; its people stay members."""
    with transaction.atomic():
        there = _locked(team)
        people = people_of(there)
        there.delete()
        Group.objects.filter(pk=team.group_id).delete()
        access_changed(people, organization=team.organization)


def add_to_team(team: Team, member: Membership) -> None:
    """Let a member have what the team is given. Refused 422 for one of another organization."""
    if member.organization_id != team.organization_id:
        words = f"A team of {team.organization} has members of {team.organization} alone."
        raise Refused("invalid", words, status=422, errors={"member": [words]})
    with transaction.atomic():
        user = locked_member(member).user
        there = _locked(team)
        if not user.groups.filter(pk=there.group_id).exists():
            user.groups.add(there.group_id)
            note(there, f"membership of {told(str(user), user)}", "no", "yes")
        access_changed([user], organization=team.organization)


def take_from_team(team: Team, member: Membership) -> None:
    """Take from a member what the team is given."""
    user = member.user
    with transaction.atomic():
        there = _locked(team)
        if user.groups.filter(pk=there.group_id).exists():
            user.groups.remove(there.group_id)
            note(there, f"membership of {told(str(user), user)}", "yes", "no")
        access_changed([user], organization=team.organization)


def people_of(team: Team) -> list[User]:
    """Name the people of a team, as they are sorted everywhere."""
    users = User.objects.filter(groups=team.group_id)
    return sorted(users, key=lambda user: str(user).casefold())


def with_teams(members: QuerySet[Membership]) -> QuerySet[Membership]:
    """Have the teams of a page of members read at once, for `teams_of`."""
    groups = Group.objects.exclude(team=None).select_related("team").order_by("team__name")
    return members.prefetch_related(Prefetch("user__groups", groups, "in_teams"))


def teams_of(member: Membership) -> list[Team]:
    """List the teams of the organization in which a member is, read by `with_teams`."""
    groups: list[Any] = member.user.in_teams  # type: ignore[attr-defined]
    return [one.team for one in groups if one.team.organization_id == member.organization_id]


def _locked(team: Team) -> Team:
    """Read a team as it is, and keep it there. Refused 409 where it was deleted meanwhile."""
    teams = Team.objects.select_for_update(of=("self",)).select_related("organization")
    found = teams.filter(pk=team.pk).first()
    if found is None:
        raise Refused("no_team", f"Team “{team}” was deleted just now.")
    return found


def _group_name(team: Team) -> str:
    """Give a name that no other group has, and by which superusers know the team among groups."""
    return f"{team.name[:60]} · {team.organization.name[:60]} · {team.public_id.hex[:12]}"


def _taken(name: str) -> Refused:
    words = f"There is a team “{name}” already."
    return Refused("name_taken", words, status=422, errors={"name": [words]})
