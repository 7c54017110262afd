"""Members over REST: who belongs to an organization, as what, and how they leave."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from ..access.api import Listed, Retrieved, ScopedViewSet
from ..filters import MemberFilter, person_name
from ..keyset import Order, both_ways
from ..members import remove_member, set_member_role
from ..models import Membership, Role
from ..permissions import membership_policy
from ..presence import with_tokens_used
from ..teams import teams_of, with_teams
from .fields import Key, Named, Person, Strict, query_of


class MemberOut(serializers.Serializer[Membership]):
    id = serializers.UUIDField(source="public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    person = Person(source="user")
    username = serializers.CharField(source="user.username")
    email = serializers.CharField(source="user.email")
    role = serializers.ChoiceField(Role.choices)
    teams = serializers.SerializerMethodField()
    active = serializers.BooleanField(source="user.is_active", help_text="Whether they can log in.")
    last_login_at = serializers.DateTimeField(source="user.last_login", allow_null=True)
    last_seen_at = serializers.DateTimeField(
        source="user.last_seen_at",
        allow_null=True,
        help_text="When they last did something in the portal, to within five minutes.",
    )
    token_used_at = serializers.DateTimeField(
        allow_null=True, help_text="When a program last came with an access token of theirs."
    )
    joined_at = serializers.DateTimeField(source="created_at")

    @extend_schema_field(Named(many=True))
    def get_teams(self, member: Membership) -> Any:
        return Named(teams_of(member), many=True).data


class MemberChanges(Strict):
    role = serializers.ChoiceField(Role.choices)


class RemovalQuery(Strict):
    successor = Key(
        membership_policy,
        required=False,
        help_text="Id of the member who takes over the jobs; needed where there are some.",
    )


@extend_schema_view(
    list=extend_schema(summary="List members"),
    retrieve=extend_schema(summary="Read about a member"),
    partial_update=extend_schema(summary="Give a member another role", request=MemberChanges),
    destroy=extend_schema(
        summary="Remove a member", parameters=[RemovalQuery], responses={204: None}
    ),
)
class MemberViewSet(Listed, Retrieved, ScopedViewSet):
    """The people of the organizations that you administer, and yourself in those you belong to."""

    policy = membership_policy
    grants = {
        "list": "inspect",
        "retrieve": "inspect",
        "partial_update": "manage",
        "destroy": "manage",
    }
    orders = both_ways(
        Order("name", person_name("user"), "text"), Order("joined", F("created_at"), "time")
    )
    filterset_class = MemberFilter
    serializer_class = MemberOut

    def rows(self) -> QuerySet[Membership]:
        members = Membership.objects.select_related("organization", "user")
        return with_tokens_used(with_teams(members))

    def get_queryset(self) -> QuerySet[Membership]:
        return membership_policy.rows(self.request.user, "inspect", self.rows())

    def partial_update(self, request: Request, id: Any) -> Response:
        member = self.get_object()
        set_member_role(member, self.read(MemberChanges)["role"])
        return Response(self.shown(self.rows().get(pk=member.pk)))

    def destroy(self, request: Request, id: Any) -> Response:
        member = self.get_object()
        query = query_of(request, RemovalQuery, {"request": request})
        remove_member(member, successor=query.get("successor"))
        return Response(status=204)
