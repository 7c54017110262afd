"""Credentials over REST: all about them but the secret, which goes in and never out."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from .. import credentials
from ..access.api import Listed, Retrieved, ScopedViewSet
from ..filters import CredentialFilter
from ..keyset import Order, both_ways
from ..models import Credential
from ..permissions import credential_policy, organization_policy, site_policy
from .authentication import person
from .fields import Key, Named, Person, Strict, Text
from .places import organization_for


class CredentialOut(serializers.Serializer[Credential]):
    id = serializers.UUIDField(source="public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    site = Named(allow_null=True)
    name = serializers.CharField()
    kind = serializers.ChoiceField(Credential.Kind.choices)
    username = serializers.CharField()
    created_by = Person(allow_null=True)
    created_at = serializers.DateTimeField()
    changed_by = Person(allow_null=True, help_text="Who gave the secret of now.")
    changed_at = serializers.DateTimeField(help_text="When the secret of now was given.")
    archived_at = serializers.DateTimeField(allow_null=True)


class SecretIn(Strict):
    """`password`; or `private_key`, with its `passphrase`; or `headers`: as the kind says."""

    password = Text(required=False, max_length=20_000, trim_whitespace=False)
    private_key = Text(required=False, max_length=20_000, trim_whitespace=False)
    passphrase = Text(required=False, max_length=20_000, trim_whitespace=False)
    headers = serializers.DictField(
        child=Text(max_length=20_000), required=False, help_text="Name → value."
    )


class CredentialChanges(Strict):
    name = Text(max_length=120)
    username = Text(max_length=300, allow_blank=True, required=False)
    secret = SecretIn(required=False, help_text="Takes the place of the one that is stored.")


class CredentialIn(Strict):
    organization = Key(organization_policy, required=False)
    site = Key(site_policy, joins=("organization",), required=False, allow_null=True)
    name = Text(max_length=120)
    kind = serializers.ChoiceField(Credential.Kind.choices)
    username = Text(max_length=300, allow_blank=True, required=False)
    secret = SecretIn()


@extend_schema_view(
    list=extend_schema(summary="List credentials"),
    retrieve=extend_schema(summary="Read about a credential"),
    create=extend_schema(
        summary="Add a credential", request=CredentialIn, responses={201: CredentialOut}
    ),
    partial_update=extend_schema(
        summary="Change a credential or replace its secret", request=CredentialChanges
    ),
    destroy=extend_schema(summary="Archive a credential", responses={204: None}),
)
class CredentialViewSet(Listed, Retrieved, ScopedViewSet):
    """Secrets that runs are given at their claim; no answer ever holds one."""

    policy = credential_policy
    grants = {
        "list": "view",
        "retrieve": "view",
        # asked of the site, or of the organization
        "create": "view",
        "partial_update": "manage",
        "destroy": "manage",
    }
    orders = both_ways(Order("name", F("name"), "text"), Order("changed", F("changed_at"), "time"))
    filterset_class = CredentialFilter
    serializer_class = CredentialOut

    def rows(self) -> QuerySet[Credential]:
        joined = Credential.objects.select_related(
            "organization", "site", "created_by", "changed_by"
        )
        return joined.defer("sealed")

    def get_queryset(self) -> QuerySet[Credential]:
        rows = super().get_queryset()
        asked = self.action != "list" or "archived" in self.request.GET
        return rows if asked else rows.filter(archived_at=None)

    def create(self, request: Request) -> Response:
        data = self.read(CredentialIn)
        site, secret = data.pop("site", None), data.pop("secret")
        if site is not None:
            site = site_policy.get(request.user, "manage", pk=site.pk)
            if data.pop("organization", site.organization).pk != site.organization_id:
                raise serializers.ValidationError({"site": ["No such site."]})
            organization = site.organization
        else:
            organization = organization_for(request, data, "manage")
        made = Credential(organization=organization, site=site, **data)
        return Response(self.shown(credentials.add(made, secret, by=person(request))), status=201)

    def partial_update(self, request: Request, id: Any) -> Response:
        credential = self.get_object()
        data = self.read(CredentialChanges, partial=True)
        return Response(self.shown(credentials.change(credential, by=person(request), **data)))

    def destroy(self, request: Request, id: Any) -> Response:
        credentials.archive(self.get_object())
        return Response(status=204)
