"""Teams over REST: their people, and their roles on sites, targets and pools."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count, F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from .. import teams
from ..access import granted_place, roles_of, set_role
from ..access.api import Listed, Retrieved, ScopedViewSet
from ..filters import TeamFilter
from ..keyset import Order, both_ways
from ..models import Membership, ObjectRole, Team
from ..permissions import membership_policy, organization_policy, team_policy
from .fields import Key, Named, Person, Strict, Text
from .places import organization_for


class TeamOut(serializers.Serializer[Team]):
    id = serializers.UUIDField(source="public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    name = serializers.CharField()
    people = serializers.IntegerField(help_text="How many there are.")
    created_at = serializers.DateTimeField()


class TeamMemberOut(serializers.Serializer[Membership]):
    id = serializers.UUIDField(source="public_id", help_text="Of the membership.")
    person = Person(source="user")


class TeamRoleOut(Named):
    """What the team has a role on."""

    kind = serializers.ChoiceField(["site", "target", "pool"])
    role = serializers.ChoiceField(ObjectRole.choices)


class TeamDetailOut(TeamOut):
    members = serializers.SerializerMethodField()
    roles = serializers.SerializerMethodField()

    @extend_schema_field(TeamMemberOut(many=True))
    def get_members(self, team: Team) -> Any:
        members = Membership.objects.filter(
            organization=team.organization_id, user__groups=team.group_id
        )
        people: Any = members.select_related("user").order_by("pk")
        return TeamMemberOut(people, many=True).data

    @extend_schema_field(TeamRoleOut(many=True))
    def get_roles(self, team: Team) -> Any:
        return [
            {"kind": kind, "role": role} | Named(place).data
            for kind, place, role in roles_of(team.group, team.organization)
        ]


class TeamChanges(Strict):
    name = Text(max_length=120)


class TeamIn(TeamChanges):
    organization = Key(organization_policy, required=False)


class TeamRoleIn(Strict):
    kind = serializers.ChoiceField(["site", "target", "pool"])
    id = serializers.UUIDField()
    role = serializers.ChoiceField(ObjectRole.choices, allow_null=True, help_text="Null: none.")


@extend_schema_view(
    list=extend_schema(summary="List teams"),
    retrieve=extend_schema(summary="Read a team with its people and roles"),
    create=extend_schema(summary="Make a team", request=TeamIn, responses={201: TeamDetailOut}),
    partial_update=extend_schema(summary="Rename a team", request=TeamChanges),
    destroy=extend_schema(summary="Delete a team with its roles", responses={204: None}),
)
class TeamViewSet(Listed, Retrieved, ScopedViewSet):
    """Members who are given roles together; a team is of one organization."""

    policy = team_policy
    grants = {
        "list": "view",
        "retrieve": "view",
        # asked of the organization
        "create": "view",
        "partial_update": "manage",
        "destroy": "manage",
        "add_member": "manage",
        "take_member": "manage",
        "set_role": "manage",
    }
    orders = both_ways(Order("name", F("name"), "text"), Order("created", F("created_at"), "time"))
    filterset_class = TeamFilter

    def get_serializer_class(self) -> Any:
        return TeamOut if self.action == "list" else TeamDetailOut

    def rows(self) -> QuerySet[Team]:
        rows = Team.objects.select_related("organization", "group")
        return rows.annotate(people=Count("group__user"))

    def answer(self, team: Team, status: int = 200) -> Response:
        """Answer the team as it is now."""
        return Response(self.shown(self.rows().get(pk=team.pk)), status=status)

    def create(self, request: Request) -> Response:
        data = self.read(TeamIn)
        organization = organization_for(request, data, "manage")
        return self.answer(teams.add_team(organization, data["name"]), 201)

    def partial_update(self, request: Request, id: Any) -> Response:
        team = self.get_object()
        return self.answer(teams.rename_team(team, self.read(TeamChanges)["name"]))

    def destroy(self, request: Request, id: Any) -> Response:
        teams.delete_team(self.get_object())
        return Response(status=204)

    @extend_schema(summary="Put a member into a team", request=None, responses=TeamDetailOut)
    @action(detail=True, methods=["put"], url_path="members/<uuid:member>")
    def add_member(self, request: Request, id: Any, member: UUID) -> Response:
        team = self.get_object()
        teams.add_to_team(team, self._member(team, member))
        return self.answer(team)

    @extend_schema(summary="Take a member out of a team", request=None, responses=TeamDetailOut)
    @add_member.mapping.delete
    def take_member(self, request: Request, id: Any, member: UUID) -> Response:
        team = self.get_object()
        teams.take_from_team(team, self._member(team, member))
        return self.answer(team)

    def _member(self, team: Team, public_id: UUID) -> Membership:
        rows = Membership.objects.select_related("organization", "user")
        found: Membership = membership_policy.get(
            self.request.user,
            "manage",
            rows.filter(organization=team.organization_id),
            public_id=public_id,
        )
        return found

    @extend_schema(
        summary="Give a team a role on a site, target or pool, or take it away",
        request=TeamRoleIn,
        responses=TeamDetailOut,
    )
    @action(detail=True, methods=["put"], url_path="roles")
    def set_role(self, request: Request, id: Any) -> Response:
        team = self.get_object()
        data = self.read(TeamRoleIn)
        place = granted_place(team.organization, data["kind"], data["id"])
        set_role(team.group, data["role"], on=place)
        return self.answer(team)
