"""Invitations over REST: asking people to join; the link goes by mail alone."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from .. import invitations
from ..access.api import Listed, Retrieved, ScopedViewSet
from ..filters import InvitationFilter
from ..keyset import Order, both_ways
from ..models import Invitation, InvitedRole, ObjectRole, Role
from ..permissions import invitation_policy, organization_policy, site_policy
from ..problems import Refused
from .authentication import person
from .fields import Key, Named, Person, Strict, Text
from .places import organization_for


class SiteRoleOut(serializers.Serializer[InvitedRole]):
    site = Named()
    role = serializers.ChoiceField(ObjectRole.choices)


class InvitationOut(serializers.Serializer[Invitation]):
    id = serializers.UUIDField(source="public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    email = serializers.CharField()
    role = serializers.ChoiceField(Role.choices)
    sites = SiteRoleOut(source="site_roles.all", many=True)
    invited_by = Person(allow_null=True)
    created_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField(
        allow_null=True, help_text="Null where the mail could not be sent: send it again."
    )
    expires_at = serializers.DateTimeField()
    accepted_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


class Address(Text, serializers.EmailField):
    """An email address that was sent as text."""


class SiteRoleIn(Strict):
    site = Key(site_policy)
    role = serializers.ChoiceField(ObjectRole.choices)


class InvitationIn(Strict):
    organization = Key(organization_policy, required=False)
    email = Address(max_length=254)
    role = serializers.ChoiceField(Role.choices, default=Role.MEMBER)
    sites = SiteRoleIn(many=True, required=False, max_length=100)  # type: ignore[call-arg]


@extend_schema_view(
    list=extend_schema(summary="List open invitations"),
    retrieve=extend_schema(summary="Read an invitation"),
    create=extend_schema(
        summary="Invite somebody", request=InvitationIn, responses={201: InvitationOut}
    ),
    destroy=extend_schema(summary="Revoke an invitation", responses={204: None}),
)
class InvitationViewSet(Listed, Retrieved, ScopedViewSet):
    """Who was asked to join and has not done so yet."""

    policy = invitation_policy
    grants = {
        "list": "view",
        "retrieve": "view",
        # asked of the organization
        "create": "view",
        "send": "manage",
        "destroy": "manage",
    }
    orders = both_ways(Order("created", F("created_at"), "time"), newest_first=True)
    filterset_class = InvitationFilter
    serializer_class = InvitationOut

    def rows(self) -> QuerySet[Invitation]:
        rows = Invitation.objects.select_related("organization", "invited_by")
        return rows.prefetch_related("site_roles__site")

    def get_queryset(self) -> QuerySet[Invitation]:
        rows = super().get_queryset()
        return rows.filter(accepted_at=None, revoked_at=None) if self.action == "list" else rows

    def create(self, request: Request) -> Response:
        data = self.read(InvitationIn)
        organization = organization_for(request, data, "manage")
        sites = [(one["site"], one["role"]) for one in data.pop("sites", [])]
        made = invitations.invite(organization, by=person(request), site_roles=sites, **data)
        try:
            invitations.send(made)
        except Refused as refusal:
            if refusal.status != 503:
                raise
            # It is there: `sent_at` says that it has to be sent again.
        return Response(self.shown(self.rows().get(pk=made.pk)), status=201)

    @extend_schema(
        summary="Send an invitation again, with another link", request=None, responses=InvitationOut
    )
    @action(detail=True, methods=["post"])
    def send(self, request: Request, id: Any) -> Response:
        invitation = self.get_object()
        invitations.send(invitation)
        return Response(self.shown(invitation))

    def destroy(self, request: Request, id: Any) -> Response:
        invitations.revoke(self.get_object())
        return Response(status=204)
