"""Agents, pools and the catalogue of functions over REST, for people and their programs."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.db.models import F, Prefetch, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from sites.access.api import Listed, Retrieved, ScopedViewSet
from sites.api.authentication import person
from sites.api.fields import Document, Flag, Key, Keys, Named, Person, Strict, Text, Whole
from sites.api.pauses import PauseField, Pausing
from sites.api.places import organization_for
from sites.keyset import Order, both_ways
from sites.models import User
from sites.permissions import organization_policy, site_policy, team_policy, user_policy

from .. import enrolment, pools
from ..filters import STATES, AgentFilter, FunctionFilter, PoolFilter
from ..line import line_to_paste
from ..models import (
    Agent,
    AgentPool,
    Function,
    FunctionVersion,
    PoolGroupPermission,
    PoolUserPermission,
)
from ..permissions import agent_policy, function_policy, pool_policy

BY_NAME = both_ways(Order("name", F("name"), "text"), Order("created", F("created_at"), "time"))


class AgentOut(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    site = serializers.UUIDField(source="site.public_id", allow_null=True)
    name = serializers.CharField()
    state = serializers.ChoiceField(STATES)
    slots = serializers.IntegerField()
    draining = serializers.BooleanField()
    rotating = serializers.BooleanField(help_text="Asked to change its token, and has not yet.")
    version = serializers.CharField()
    platform = serializers.CharField()
    seen_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    enrolled_at = serializers.DateTimeField(allow_null=True)
    retired_at = serializers.DateTimeField(allow_null=True)
    pause = PauseField()


class EnrolmentOut(serializers.Serializer[Any]):
    """What turns a program into this agent, once."""

    code = serializers.CharField(help_text="Shown here only.")
    line = serializers.CharField(help_text="To paste at the site.")
    expires_in_s = serializers.IntegerField()


class NewAgentOut(AgentOut):
    enrolment = EnrolmentOut()


class AgentIn(Strict):
    organization = Key(organization_policy, required=False)
    site = Key(site_policy, joins=("organization",), required=False, allow_null=True)
    name = Text(max_length=120)
    slots = Whole(min_value=1, max_value=64, required=False)


class AgentChanges(Strict):
    name = Text(max_length=120)
    slots = Whole(min_value=1, max_value=64, required=False)
    draining = Flag(required=False)


def enrolment_of(code: str) -> dict[str, Any]:
    """Tell what to do with a code: the line that the person pastes."""
    return {
        "code": code,
        "line": line_to_paste(code),
        "expires_in_s": int(enrolment.CODE_LIFETIME.total_seconds()),
    }


@extend_schema_view(
    list=extend_schema(summary="List agents"),
    retrieve=extend_schema(summary="Read an agent"),
    create=extend_schema(summary="Add an agent", request=AgentIn, responses={201: NewAgentOut}),
    partial_update=extend_schema(summary="Change or drain an agent", request=AgentChanges),
    destroy=extend_schema(summary="Retire an agent", responses={204: None}),
    pause=extend_schema(summary="Pause an agent: it takes no new runs"),
    resume=extend_schema(summary="End the pause of an agent"),
)
class AgentViewSet(Listed, Retrieved, Pausing):
    """Programs at the sites that carry runs out."""

    policy = agent_policy
    grants = {
        "list": "view",
        "retrieve": "view",
        # asked of the site, or of the organization
        "create": "view",
        "partial_update": "manage",
        "destroy": "manage",
        "code": "manage",
        "rotate": "manage",
        "pause": "manage",
        "resume": "manage",
    }
    orders = BY_NAME
    filterset_class = AgentFilter
    serializer_class = AgentOut
    begin, end = enrolment.pause, enrolment.resume

    def rows(self) -> QuerySet[Agent]:
        return Agent.objects.with_state().select_related(
            "organization", "site", "presence", "paused_by"
        )

    def get_queryset(self) -> QuerySet[Agent]:
        rows = super().get_queryset()
        asked = {"retired", "state"} & self.request.GET.keys()
        return rows if self.action != "list" or asked else rows.filter(retired_at=None)

    def create(self, request: Request) -> Response:
        data = self.read(AgentIn)
        site = data.pop("site", None)
        if site is not None:
            site = site_policy.get(request.user, "manage", pk=site.pk)
            named = data.pop("organization", site.organization)
            if named.pk != site.organization_id:
                raise serializers.ValidationError({"site": ["No such site."]})
            organization = site.organization
        else:
            organization = organization_for(request, data, "manage")
        agent, code = enrolment.add_agent(organization, site=site, by=person(request), **data)
        told = self._told(agent) | {"enrolment": enrolment_of(code)}
        return _unkept(Response(told, status=201))

    def partial_update(self, request: Request, id: Any) -> Response:
        agent = self.get_object()
        enrolment.change(agent, **self.read(AgentChanges, partial=True))
        return Response(self._told(agent))

    def destroy(self, request: Request, id: Any) -> Response:
        enrolment.retire(self.get_object(), by=person(request))
        return Response(status=204)

    @extend_schema(summary="Make a new enrolment code", request=None, responses={201: EnrolmentOut})
    @action(detail=True, methods=["post"])
    def code(self, request: Request, id: Any) -> Response:
        code = enrolment.new_code(self.get_object(), by=person(request))
        return _unkept(Response(enrolment_of(code), status=201))

    @extend_schema(summary="Have an agent change its token", request=None, responses=AgentOut)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, id: Any) -> Response:
        agent = self.get_object()
        enrolment.rotate(agent)
        return Response(self._told(agent))

    def _told(self, agent: Agent) -> dict[str, Any]:
        told: dict[str, Any] = self.shown(self.rows().get(pk=agent.pk))
        return told


def _unkept(answer: Response) -> Response:
    """A secret that is shown once stays in no cache."""
    answer["Cache-Control"] = "no-store"
    return answer


class PoolOut(serializers.Serializer[AgentPool]):
    id = serializers.UUIDField(source="public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    name = serializers.CharField()
    restricted = serializers.BooleanField(
        help_text="Only those who were given it may choose it; its agents take no automatic runs."
    )
    agents = Named(source="seen_agents", many=True, help_text="Those that you may see.")
    people = serializers.SerializerMethodField(
        help_text="Who may choose it while it is restricted; for those who may manage it."
    )
    teams = serializers.SerializerMethodField(help_text="The same of teams.")
    created_at = serializers.DateTimeField()
    archived_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field(serializers.ListField(child=Person()))
    def get_people(self, pool: AgentPool) -> Any:
        if "manage" not in self.context["permitted"].get(pool.pk, ()):
            return []
        given = [row.user for row in pool.pooluserpermission_set.all()]
        return Person(given, many=True).data

    @extend_schema_field(serializers.ListField(child=Named()))
    def get_teams(self, pool: AgentPool) -> Any:
        if "manage" not in self.context["permitted"].get(pool.pk, ()):
            return []
        groups = [row.group for row in pool.poolgrouppermission_set.all()]
        return Named([one.team for one in groups if hasattr(one, "team")], many=True).data


class PoolChanges(Strict):
    name = Text(max_length=120)
    restricted = Flag(required=False)
    agents = Keys(agent_policy, required=False, help_text="All that are to be in it.")
    people = Keys(user_policy, required=False, help_text="All members who may choose it.")
    teams = Keys(team_policy, required=False, help_text="All teams that may choose it.")


class PoolIn(PoolChanges):
    organization = Key(organization_policy, required=False)


@extend_schema_view(
    list=extend_schema(summary="List pools"),
    retrieve=extend_schema(summary="Read a pool"),
    create=extend_schema(summary="Add a pool", request=PoolIn, responses={201: PoolOut}),
    partial_update=extend_schema(
        summary="Change a pool, its agents or who may choose it", request=PoolChanges
    ),
    destroy=extend_schema(summary="Archive a pool", responses={204: None}),
)
class PoolViewSet(Listed, Retrieved, ScopedViewSet):
    """Named sets of agents."""

    policy = pool_policy
    grants = {
        "list": "view",
        "retrieve": "view",
        # asked of the organization
        "create": "view",
        "partial_update": "manage",
        "destroy": "manage",
    }
    orders = BY_NAME
    filterset_class = PoolFilter
    serializer_class = PoolOut

    def rows(self) -> QuerySet[AgentPool]:
        seen = agent_policy.rows(self.request.user, "view", Agent.objects.in_use())
        agents = Prefetch("agents", seen.order_by("name"), to_attr="seen_agents")
        given = PoolUserPermission.objects.select_related("user").order_by("user")
        people = Prefetch("pooluserpermission_set", given)
        teams = PoolGroupPermission.objects.select_related("group__team").order_by("group")
        return AgentPool.objects.select_related("organization").prefetch_related(
            agents, people, Prefetch("poolgrouppermission_set", teams)
        )

    def get_queryset(self) -> QuerySet[AgentPool]:
        rows = super().get_queryset()
        asked = self.action != "list" or "archived" in self.request.GET
        return rows if asked else rows.filter(archived_at=None)

    def shown(self, objects: Any, *, many: bool = False) -> Any:
        ids = [pool.pk for pool in (objects if many else [objects])]
        permitted = pool_policy.permitted(self.request.user, ["manage"], ids)
        context = {**self.get_serializer_context(), "permitted": permitted}
        return PoolOut(objects, many=many, context=context).data

    def create(self, request: Request) -> Response:
        data = self.read(PoolIn)
        organization = organization_for(request, data, "manage")
        return Response(self._saved(AgentPool(organization=organization), data), status=201)

    def partial_update(self, request: Request, id: Any) -> Response:
        pool = self.get_object()
        return Response(self._saved(pool, self.read(PoolChanges, partial=True)))

    def destroy(self, request: Request, id: Any) -> Response:
        pools.archive_pool(self.get_object())
        return Response(status=204)

    def _saved(self, pool: AgentPool, data: dict[str, Any]) -> Any:
        people, teams = data.pop("people", None), data.pop("teams", None)
        if people is not None or teams is not None:
            have = pools.choosers_of(pool) if pool.pk else []
            users = [who for who in have if isinstance(who, User)] if people is None else people
            groups = [who for who in have if isinstance(who, Group)]
            if teams is not None:
                # A group that is no team has no place here, and stays as it is.
                groups = [who for who in groups if not hasattr(who, "team")]
                groups += [team.group for team in teams]
            data["choosers"] = [*users, *groups]
        saved = pools.save_pool(pool, **data)
        return self.shown(self.rows().get(pk=saved.pk))


class VersionOut(serializers.Serializer[FunctionVersion]):
    version = serializers.CharField()
    title = serializers.CharField()
    produces = serializers.ChoiceField(FunctionVersion.Produces.choices)
    takes = serializers.ListField(child=serializers.CharField())
    parameters = Document(help_text="A JSON Schema, draft 2020-12.")
    created_at = serializers.DateTimeField()


class FunctionOut(serializers.Serializer[Function]):
    id = serializers.UUIDField(source="public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    tool = serializers.CharField(source="tool.name")
    name = serializers.CharField()
    versions = VersionOut(many=True, help_text="The newest first.")


@extend_schema_view(
    list=extend_schema(summary="List functions"),
    retrieve=extend_schema(summary="Read a function"),
)
class FunctionViewSet(Listed, Retrieved, ScopedViewSet):
    """What agents can do, as they have advertised it."""

    policy = function_policy
    grants = {"list": "view", "retrieve": "view"}
    orders = both_ways(Order("name", F("name"), "text"), Order("tool", F("tool__name"), "text"))
    filterset_class = FunctionFilter
    serializer_class = FunctionOut

    def rows(self) -> QuerySet[Function]:
        versions = FunctionVersion.objects.order_by("-created_at", "-id")
        return Function.objects.select_related("organization", "tool").prefetch_related(
            Prefetch("versions", versions)
        )
