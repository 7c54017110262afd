"""Organizations, sites and targets over REST."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from ..access import grants_of
from ..access.api import Listed, Retrieved, ScopedViewSet
from ..archiving import archive_site, archive_target
from ..filters import OrganizationFilter, SiteFilter, TargetFilter
from ..keyset import Order, both_ways
from ..masking import HIDDEN, masked
from ..models import Organization, Site, Target
from ..models.organization import LONGEST_KEPT_DAYS
from ..models.place import LONGEST_RECOVERY_POINT_H
from ..permissions import (
    credential_policy,
    organization_policy,
    site_policy,
    target_policy,
)
from ..places import keep, pause_site, resume_site, save_site, save_target
from ..problems import Refused
from .authentication import person
from .fields import Document, Flag, Key, Named, Strict, Text, Whole
from .pauses import PauseField, Pausing

BY_NAME = both_ways(Order("name", F("name"), "text"), Order("created", F("created_at"), "time"))


def _days(words: str) -> Whole:
    return Whole(
        min_value=1,
        max_value=LONGEST_KEPT_DAYS,
        allow_null=True,
        required=False,
        help_text=words,
    )


class OrganizationOut(serializers.Serializer[Organization]):
    id = serializers.UUIDField(source="public_id")
    name = serializers.CharField()
    role = serializers.SerializerMethodField(help_text="Yours; null for a superuser from outside.")
    keep_runs_days = serializers.IntegerField(
        allow_null=True, help_text="How long whole runs are kept after their end; null: for ever."
    )
    keep_logs_days = serializers.IntegerField(
        allow_null=True, help_text="The same of the logs of runs that are kept."
    )
    keep_files_days = serializers.IntegerField(
        allow_null=True, help_text="The same of their files and inputs."
    )
    created_at = serializers.DateTimeField()

    def get_role(self, organization: Organization) -> str | None:
        return grants_of(self.context["request"].user).roles.get(organization.pk)


class OrganizationChanges(Strict):
    keep_runs_days = _days("Null: for ever.")
    keep_logs_days = _days("Null: as long as their runs.")
    keep_files_days = _days("Null: as long as their runs.")


@extend_schema_view(
    list=extend_schema(summary="List your organizations"),
    retrieve=extend_schema(summary="Read an organization"),
    partial_update=extend_schema(
        summary="Say how long an organization keeps its runs and what they left",
        request=OrganizationChanges,
    ),
)
class OrganizationViewSet(Listed, Retrieved, ScopedViewSet):
    """The tenants that you belong to."""

    policy = organization_policy
    grants = {"list": "view", "retrieve": "view", "partial_update": "manage"}
    orders = BY_NAME
    filterset_class = OrganizationFilter
    serializer_class = OrganizationOut

    def partial_update(self, request: Request, id: Any) -> Response:
        organization = self.get_object()
        return Response(self.shown(keep(organization, **self.read(OrganizationChanges))))


def recovery_point(words: str) -> Whole:
    """Take a recovery point objective, or null for none of one's own."""
    return Whole(
        min_value=1,
        max_value=LONGEST_RECOVERY_POINT_H,
        allow_null=True,
        required=False,
        help_text=words,
    )


class SiteOut(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    name = serializers.CharField()
    time_zone = serializers.CharField()
    run_timeout_s = serializers.IntegerField(
        allow_null=True, help_text="How long runs may take whose job does not say; null: an hour."
    )
    queue_timeout_s = serializers.IntegerField(
        allow_null=True, help_text="How long they may wait for an agent; null: a day."
    )
    recovery_point_h = serializers.IntegerField(
        allow_null=True, help_text="How old a target's newest good backup may be, in hours."
    )
    created_at = serializers.DateTimeField()
    archived_at = serializers.DateTimeField(allow_null=True)
    pause = PauseField()


class SiteIn(Strict):
    organization = Key(organization_policy, required=False)
    name = Text(max_length=120)
    time_zone = Text(max_length=64, required=False)
    recovery_point_h = recovery_point("In hours; null: none is asked for.")


class SiteChanges(Strict):
    name = Text(max_length=120)
    run_timeout_s = Whole(min_value=10, max_value=7 * 86400, required=False, allow_null=True)
    queue_timeout_s = Whole(min_value=10, max_value=30 * 86400, required=False, allow_null=True)
    recovery_point_h = recovery_point("In hours; null: none is asked for.")


def organization_for(request: Request, data: dict[str, Any], action: str) -> Organization:
    """Find the organization that something new is to belong to: the named or the only one."""
    named: Organization | None = data.pop("organization", None)
    if named is not None:
        allowed: Organization = organization_policy.get(request.user, action, pk=named.pk)
        return allowed
    possible = list(organization_policy.rows(request.user, action, Organization.objects.all())[:2])
    if not possible:
        raise PermissionDenied("This needs the role Administrator.")
    if len(possible) > 1:
        words = "You administer several organizations: name one."
        raise Refused("invalid", words, status=422, errors={"organization": [words]})
    return possible[0]


@extend_schema_view(
    list=extend_schema(summary="List sites"),
    retrieve=extend_schema(summary="Read a site"),
    create=extend_schema(summary="Add a site", request=SiteIn, responses={201: SiteOut}),
    partial_update=extend_schema(summary="Change a site", request=SiteChanges),
    destroy=extend_schema(summary="Archive a site", responses={204: None}),
    pause=extend_schema(summary="Pause a site: its runs wait"),
    resume=extend_schema(summary="End the pause of a site"),
)
class SiteViewSet(Listed, Retrieved, Pausing):
    """Places at which jobs run."""

    policy = site_policy
    grants = {
        "list": "view",
        "retrieve": "view",
        # asked of the organization
        "create": "view",
        "partial_update": "manage",
        "destroy": "delete",
        "pause": "manage",
        "resume": "manage",
    }
    orders = BY_NAME
    filterset_class = SiteFilter
    serializer_class = SiteOut
    begin, end = pause_site, resume_site

    def rows(self) -> QuerySet[Site]:
        return Site.objects.select_related("organization", "paused_by")

    def get_queryset(self) -> QuerySet[Site]:
        return _in_use_unless_asked(self, super().get_queryset())

    def create(self, request: Request) -> Response:
        data = self.read(SiteIn)
        organization = organization_for(request, data, "create_site")
        site = save_site(Site(organization=organization, **data))
        return Response(self.shown(site), status=201)

    def partial_update(self, request: Request, id: Any) -> Response:
        site = self.get_object()
        return Response(self.shown(save_site(site, **self.read(SiteChanges, partial=True))))

    def destroy(self, request: Request, id: Any) -> Response:
        archive_site(self.get_object())
        return Response(status=204)


class TargetOut(serializers.Serializer[Target]):
    """Name and kind for everyone who sees it; the rest for those who may inspect it."""

    id = serializers.UUIDField(source="public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    site = serializers.UUIDField(source="site.public_id")
    name = serializers.CharField()
    kind = serializers.ChoiceField(Target.Kind.choices)
    address = serializers.CharField(required=False)
    settings = Document(required=False, help_text=f"Values that look like secrets are {HIDDEN}.")
    credential = Named(
        required=False, allow_null=True, help_text="What its runs are given, without the secret."
    )
    accepted_snapshot = serializers.UUIDField(
        source="accepted_snapshot.public_id", required=False, allow_null=True
    )
    recovery_point_h = serializers.IntegerField(
        allow_null=True,
        help_text="How old its newest good backup may be, in hours; null: the site's.",
    )
    created_at = serializers.DateTimeField()
    archived_at = serializers.DateTimeField(allow_null=True)

    def to_representation(self, target: Target) -> dict[str, Any]:
        shown = super().to_representation(target)
        if "inspect" in self.context["permitted"].get(target.pk, ()):
            shown["settings"] = masked(target.settings)
        else:
            for name in ("address", "settings", "credential", "accepted_snapshot"):
                shown.pop(name, None)
        return shown


class TargetChanges(Strict):
    name = Text(max_length=120)
    kind = serializers.ChoiceField(Target.Kind.choices, required=False)
    address = Text(max_length=1000, allow_blank=True, required=False)
    settings = Document(required=False)
    recovery_point_h = recovery_point("In hours; null: the site's.")
    credential = Key(
        credential_policy,
        required=False,
        allow_null=True,
        help_text="One that you may manage. A change of the address names it anew, or null.",
    )


class TargetMoves(TargetChanges):
    clear_job_secrets = Flag(
        required=False,
        help_text="Take the stored secrets of the target's jobs away: they were given for the "
        "address of before, and go to no other one.",
    )


class TargetIn(TargetChanges):
    site = Key(site_policy, joins=("organization",))


@extend_schema_view(
    list=extend_schema(summary="List targets"),
    retrieve=extend_schema(summary="Read a target"),
    create=extend_schema(summary="Add a target", request=TargetIn, responses={201: TargetOut}),
    partial_update=extend_schema(summary="Change a target", request=TargetMoves),
    destroy=extend_schema(summary="Archive a target", responses={204: None}),
)
class TargetViewSet(Listed, Retrieved, ScopedViewSet):
    """What jobs act on."""

    policy = target_policy
    grants = {
        "list": "view",
        "retrieve": "view",
        # asked of the site
        "create": "view",
        "partial_update": "edit",
        "destroy": "delete",
    }
    orders = BY_NAME
    filterset_class = TargetFilter
    serializer_class = TargetOut

    def rows(self) -> QuerySet[Target]:
        return Target.objects.select_related(
            "organization", "site", "accepted_snapshot", "credential"
        )

    def get_queryset(self) -> QuerySet[Target]:
        return _in_use_unless_asked(self, super().get_queryset())

    def shown(self, objects: Any, *, many: bool = False) -> Any:
        ids = [target.pk for target in (objects if many else [objects])]
        permitted = target_policy.permitted(self.request.user, ["inspect"], ids)
        context = {**self.get_serializer_context(), "permitted": permitted}
        return TargetOut(objects, many=many, context=context).data

    def create(self, request: Request) -> Response:
        data = self.read(TargetIn)
        site = site_policy.get(request.user, "create_target", pk=data["site"].pk)
        data |= {"site": site} | _credential_in(request, data)
        target = Target(organization=site.organization, created_by=person(request), **data)
        return Response(self.shown(save_target(target)), status=201)

    def partial_update(self, request: Request, id: Any) -> Response:
        target = self.get_object()
        data = self.read(TargetMoves, partial=True)
        data |= _credential_in(request, data)
        clear = data.pop("clear_job_secrets", False)
        return Response(self.shown(save_target(target, clear_secrets=clear, **data)))

    def destroy(self, request: Request, id: Any) -> Response:
        archive_target(self.get_object())
        return Response(status=204)


def _credential_in(request: Request, data: dict[str, Any]) -> dict[str, Any]:
    """Ask whether the person may put the credential that a body names on a target."""
    if (named := data.get("credential")) is None:
        return {}
    return {"credential": credential_policy.get(request.user, "manage", pk=named.pk)}


def _in_use_unless_asked(view: ScopedViewSet, rows: QuerySet[Any]) -> QuerySet[Any]:
    """Leave what was put away out of a list that does not ask for it."""
    if view.action == "list" and "archived" not in view.request.GET:
        return rows.filter(archived_at__isnull=True)
    return rows
