"""Which address of /api/v1 is answered by which door; those of agents are in their own modules."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.urls import path, re_path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from agents.api.views import AgentViewSet, FunctionViewSet, PoolViewSet
from jobs.api.coverage import CoverageViewSet
from jobs.api.jobs import JobViewSet
from jobs.api.occurrences import OccurrenceViewSet
from jobs.api.proposals import ProposalViewSet
from jobs.api.runs import ConnectionJobViewSet, RunViewSet
from jobs.api.site_schedules import SiteScheduleViewSet
from notifications.api.views import NotificationViewSet, SubscriptionViewSet
from sites.api.credentials import CredentialViewSet
from sites.api.invitations import InvitationViewSet
from sites.api.members import MemberViewSet
from sites.api.own import Me, TokenViewSet, Upload
from sites.api.places import OrganizationViewSet, SiteViewSet, TargetViewSet
from sites.api.problems import nothing_here
from sites.api.snapshots import SnapshotViewSet, TargetSnapshotViewSet
from sites.api.teams import TeamViewSet


class Kept(SchemaGenerator):
    """The schema, made once for each process: it is the same for everyone, and takes a while."""

    def get_schema(self, request: Any = None, public: bool = False) -> Any:
        return _whole()


@cache
def _whole() -> Any:
    return SchemaGenerator().get_schema(request=None, public=True)


@cache
def _yaml() -> bytes:
    """Write it as YAML once for each process, which takes most of a second."""
    written: bytes = OpenApiYamlRenderer().render(_whole())
    return written


class KeptYaml(OpenApiYamlRenderer):
    """The schema as YAML; a problem as ever."""

    def render(self, data: Any, *of: Any, **more: Any) -> bytes:
        written: bytes = _yaml() if data is _whole() else super().render(data, *of, **more)
        return written


class KeptYaml2(KeptYaml):
    """The same under YAML's own media type."""

    media_type = OpenApiYamlRenderer2.media_type


class Schema(SpectacularAPIView):
    """The schema in the form that is asked for."""

    generator_class = Kept
    renderer_classes = [KeptYaml, KeptYaml2, OpenApiJsonRenderer, OpenApiJsonRenderer2]


router = SimpleRouter(trailing_slash=False, use_regex_path=False)
for prefix, viewset in {
    "organizations": OrganizationViewSet,
    "members": MemberViewSet,
    "invitations": InvitationViewSet,
    "teams": TeamViewSet,
    "sites": SiteViewSet,
    "targets": TargetViewSet,
    "credentials": CredentialViewSet,
    "snapshots": SnapshotViewSet,
    "functions": FunctionViewSet,
    "agents": AgentViewSet,
    "pools": PoolViewSet,
    "jobs": JobViewSet,
    "runs": RunViewSet,
    "proposals": ProposalViewSet,
    "occurrences": OccurrenceViewSet,
    "coverage": CoverageViewSet,
    "notifications": NotificationViewSet,
    "subscriptions": SubscriptionViewSet,
    "tokens": TokenViewSet,
}.items():
    router.register(prefix, viewset, basename=f"api-{prefix}")

urlpatterns = [
    path("schema", Schema.as_view(), name="api-schema"),
    path(
        "docs",
        SpectacularSwaggerSplitView.as_view(
            url_name="api-schema", template_name="sites/api_docs.html"
        ),
        name="api-docs",
    ),
    path("me", Me.as_view(), name="api-me"),
    path("uploads/<uuid:id>", Upload.as_view(), name="api-upload"),
    path(
        "sites/<uuid:id>/schedule",
        SiteScheduleViewSet.as_view({"get": "retrieve", "put": "update"}),
        name="api-site-schedule",
    ),
    path(
        "targets/<uuid:id>/snapshots",
        TargetSnapshotViewSet.as_view({"get": "list"}),
        name="api-target-snapshots",
    ),
    path(
        "connections/<uuid:id>/jobs",
        ConnectionJobViewSet.as_view({"get": "list"}),
        name="api-connection-jobs",
    ),
    *router.urls,
    # Whatever else is asked for under /api/v1 is a problem, not a page.
    re_path("", nothing_here, name="api-nothing"),
]
