"""What belongs to the person who asks: who they are, their access tokens, what they upload."""

from __future__ import annotations

from datetime import datetime
from typing import IO, Any
from uuid import UUID

from django.db.models import F, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .. import access_tokens, files, quota
from ..access.api import Listed, Retrieved, ScopedViewSet
from ..filters import ListFilter
from ..keyset import Order, both_ways
from ..models import AccessToken, Membership, Role, User
from ..permissions import token_policy
from ..uploads import folder_of, stage
from .authentication import PortalSessionAuthentication, person, refuse_tokens
from .fields import Strict, Text, Whole, query_of


class MembershipOut(serializers.Serializer[Membership]):
    id = serializers.UUIDField(source="organization.public_id")
    name = serializers.CharField(source="organization.name")
    role = serializers.ChoiceField(Role.choices)
    storage_used = serializers.SerializerMethodField(help_text="Bytes in file storage.")
    storage_limit = serializers.SerializerMethodField(help_text="In bytes; null for none.")

    def get_storage_used(self, membership: Membership) -> int:
        return quota.used_by(membership.organization)

    def get_storage_limit(self, membership: Membership) -> int | None:
        return quota.limit_of(membership.organization)


class MeOut(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="public_id")
    username = serializers.CharField()
    name = serializers.CharField(source="__str__")
    email = serializers.CharField()
    superuser = serializers.BooleanField(source="is_superuser")
    organizations = serializers.SerializerMethodField()

    @extend_schema_field(MembershipOut(many=True))
    def get_organizations(self, user: User) -> Any:
        return MembershipOut(self.context["memberships"], many=True).data


class Me(APIView):
    """The person whom the token or session belongs to."""

    @extend_schema(summary="Say who you are", operation_id="me_retrieve", responses=MeOut)
    def get(self, request: Request) -> Response:
        user = person(request)
        memberships = Membership.objects.filter(user=user).select_related(
            "organization__storage_use"
        )
        context = {"memberships": memberships.order_by("organization__name")}
        return Response(MeOut(user, context=context).data)


class TokenOut(serializers.Serializer[AccessToken]):
    id = serializers.UUIDField(source="public_id")
    name = serializers.CharField()
    scope = serializers.ChoiceField(AccessToken.Scope.choices)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


class NewTokenOut(TokenOut):
    token = serializers.CharField(help_text="Shown here only.")


class Moment(serializers.DateTimeField):
    """An instant; one at the end of the calendar that no zone can hold is not valid."""

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str):
            self.fail("invalid", format="ISO 8601")
        try:
            return super().to_internal_value(value)
        except (OverflowError, ValueError):
            self.fail("invalid", format="ISO 8601")


class TokenIn(Strict):
    name = Text(max_length=120)
    scope = serializers.ChoiceField(
        AccessToken.Scope.choices,
        default=AccessToken.Scope.FULL,
        help_text="`read` answers 403 to whatever would change something.",
    )
    expires_at = Moment(required=False, allow_null=True)


class TokenFilter(ListFilter):
    class Meta:
        model = AccessToken
        fields: list[str] = []


@extend_schema_view(
    list=extend_schema(summary="List your access tokens"),
    create=extend_schema(
        summary="Make an access token", request=TokenIn, responses={201: NewTokenOut}
    ),
    retrieve=extend_schema(summary="Read about an access token"),
    destroy=extend_schema(summary="Revoke an access token", responses={204: None}),
)
class TokenViewSet(Listed, Retrieved, ScopedViewSet):
    """Your personal access tokens: each acts as you, except here."""

    authentication_classes = [PortalSessionAuthentication]
    policy = token_policy
    grants = {"list": "view", "retrieve": "view", "create": "view", "destroy": "revoke"}
    orders = both_ways(Order("created", F("created_at"), "time"), newest_first=True)
    filterset_class = TokenFilter
    serializer_class = TokenOut

    def perform_authentication(self, request: Request) -> None:
        refuse_tokens(request)
        super().perform_authentication(request)

    def get_queryset(self) -> QuerySet[AccessToken]:
        return super().get_queryset().filter(revoked_at=None)

    def create(self, request: Request) -> Response:
        row, token = access_tokens.issue(person(request), **self.read(TokenIn))
        answer = Response(TokenOut(row).data | {"token": token}, status=201)
        answer["Cache-Control"] = "no-store"
        return answer

    def destroy(self, request: Request, id: Any) -> Response:
        access_tokens.revoke(self.get_object())
        return Response(status=204)


class RawBody(BaseParser):
    """A body of bytes, handed on as the stream that it is."""

    media_type = "application/octet-stream"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None
    ) -> Any:
        return stream


class OffsetQuery(Strict):
    offset = Whole(min_value=0, max_value=2**62)


class StagedOut(serializers.Serializer[Any]):
    length = serializers.IntegerField(help_text="How many bytes are staged.")


class Upload(APIView):
    """A file on its way in, piece by piece; named in the `inputs` of the run that it is for."""

    parser_classes = [RawBody]

    @extend_schema(
        summary="Say how much has arrived", operation_id="uploads_retrieve", responses=StagedOut
    )
    def get(self, request: Request, id: UUID) -> Response:
        return Response({"length": files.length(folder_of(person(request)), id)})

    @extend_schema(
        summary="Send a piece",
        description="At most 8 MiB, at the end of what has arrived; another offset is 416.",
        operation_id="uploads_update",
        parameters=[OffsetQuery],
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses=StagedOut,
    )
    def put(self, request: Request, id: UUID) -> Response:
        offset = query_of(request, OffsetQuery)["offset"]
        length = stage(
            person(request),
            id,
            offset=offset,
            stream=_Body(request),
            announced=_announced(request),
        )
        return Response({"length": length})


def _announced(request: Request) -> int:
    text = str(request.META.get("CONTENT_LENGTH") or "")
    return int(text[:18]) if text.isascii() and text.isdigit() else 0


class _Body:
    """The request's bytes; a body that nobody sent has none."""

    def __init__(self, request: Request) -> None:
        self._data = request.data

    def read(self, size: int, /) -> bytes:
        return self._data.read(size) if hasattr(self._data, "read") else b""
