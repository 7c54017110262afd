"""Snapshots over REST: what a target's files were, file by file, and what differs."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from .. import vault
from ..access.api import Retrieved, ScopedViewSet
from ..keyset import Order, both_ways
from ..models import Snapshot
from ..permissions import snapshot_policy, target_policy
from ..vault import Entry
from .diffs import CountsOut, DiffOut, DiffQuery, check_kept, diff_of
from .downloads import DOWNLOAD, download, download_stored
from .fields import Key, Path, Strict, query_of

# So many entries of a folder in one answer; `after` asks for the next ones.
ENTRIES = 1_000


class SnapshotOut(serializers.Serializer[Snapshot]):
    id = serializers.UUIDField(source="public_id")
    organization = serializers.UUIDField(source="organization.public_id")
    target = serializers.UUIDField(source="target.public_id")
    base = serializers.UUIDField(source="base.public_id", allow_null=True)
    tree = serializers.CharField(source="tree_id")
    commit = serializers.CharField(source="commit_id")
    message = serializers.CharField()
    files = serializers.IntegerField()
    size = serializers.IntegerField()
    counts = CountsOut(source="*")
    created_at = serializers.DateTimeField()
    accepted_at = serializers.DateTimeField(allow_null=True)
    purged_at = serializers.DateTimeField(allow_null=True)


class EntryOut(serializers.Serializer[Entry]):
    name = serializers.CharField()
    path = serializers.CharField()
    kind = serializers.CharField(help_text="file, dir or link")
    size = serializers.IntegerField(allow_null=True)
    id = serializers.CharField(help_text="git's object id")
    mode = serializers.CharField()
    large = serializers.BooleanField()


class TreeOut(serializers.Serializer[Any]):
    path = serializers.CharField()
    entries = EntryOut(many=True)
    next_after = serializers.CharField(allow_null=True)


class PreviewOut(serializers.Serializer[Any]):
    text = serializers.CharField(allow_null=True, trim_whitespace=False)
    encoding = serializers.CharField(allow_null=True)
    refused = serializers.CharField(allow_null=True, help_text="binary, large or too_large")


class SnapshotFileOut(EntryOut):
    preview = PreviewOut()


class TreeQuery(Strict):
    path = Path(required=False, default="", allow_blank=True)
    after = Path(required=False, default="", allow_blank=True)


class FileQuery(Strict):
    path = Path()


class BaseQuery(DiffQuery):
    base = Key(snapshot_policy, required=False)


_SNAPSHOTS = Snapshot.objects.select_related("organization", "target", "base", "purged_by")


@extend_schema_view(
    retrieve=extend_schema(summary="Read a snapshot"),
)
class SnapshotViewSet(Retrieved, ScopedViewSet):
    """One immutable version of a target's files."""

    policy = snapshot_policy
    grants = {
        "retrieve": "view",
        "tree": "view",
        "file": "view",
        "content": "view",
        "diff": "view",
    }
    serializer_class = SnapshotOut
    filter_backends = ()
    pagination_class = None

    def rows(self) -> QuerySet[Snapshot]:
        return _SNAPSHOTS.all()

    def _kept(self) -> Snapshot:
        snapshot: Snapshot = self.get_object()
        check_kept(snapshot)
        return snapshot

    @extend_schema(summary="List a folder", parameters=[TreeQuery], responses=TreeOut)
    @action(detail=True)
    def tree(self, request: Request, id: Any) -> Response:
        snapshot = self._kept()
        query = query_of(request, TreeQuery)
        entries = vault.entries(snapshot.target.public_id, snapshot.commit_id, query["path"])
        names = [entry.path for entry in entries]
        start = names.index(query["after"]) + 1 if query["after"] in names else 0
        shown = entries[start : start + ENTRIES]
        more = start + len(shown) < len(entries)
        told = {
            "path": query["path"],
            "entries": shown,
            "next_after": shown[-1].path if more else None,
        }
        return Response(TreeOut(told).data)

    @extend_schema(summary="Read a file's text", parameters=[FileQuery], responses=SnapshotFileOut)
    @action(detail=True)
    def file(self, request: Request, id: Any) -> Response:
        snapshot = self._kept()
        path = query_of(request, FileQuery)["path"]
        entry = vault.entry(snapshot.target.public_id, snapshot.commit_id, path)
        preview = vault.preview(snapshot.target.public_id, entry)
        return Response(EntryOut(entry).data | {"preview": PreviewOut(preview).data})

    @extend_schema(
        summary="Download a file",
        parameters=[FileQuery],
        responses=DOWNLOAD,
    )
    @action(detail=True)
    def content(self, request: Request, id: Any) -> HttpResponseBase:
        snapshot = self._kept()
        path = query_of(request, FileQuery)["path"]
        target_id = snapshot.target.public_id
        entry = vault.entry(target_id, snapshot.commit_id, path)
        organization_id = snapshot.organization.public_id
        if stored := vault.stored_name(entry, organization_id=organization_id):
            return download_stored(request._request, stored, name=entry.name)
        pieces = vault.stream(target_id, entry, organization_id=organization_id)
        return download(pieces, name=entry.name, size=entry.size)

    @extend_schema(
        summary="Say what differs from another snapshot",
        description="Without `base` from the one that it was compared with when it was made.",
        parameters=[DiffQuery, OpenApiParameter("base", OpenApiTypes.UUID)],
        responses=DiffOut,
    )
    @action(detail=True)
    def diff(self, request: Request, id: Any) -> Response:
        snapshot = self.get_object()
        query = query_of(request, BaseQuery, {"request": request})
        base = query.get("base", snapshot.base)
        if base is not None and base.target_id != snapshot.target_id:
            raise serializers.ValidationError({"base": ["No such snapshot."]})
        return Response(diff_of(snapshot.target, base, snapshot, query))


@extend_schema_view(list=extend_schema(summary="List a target's snapshots"))
class TargetSnapshotViewSet(ScopedViewSet):
    """The snapshots of one target."""

    policy = snapshot_policy
    grants = {"list": "view"}
    orders = both_ways(Order("created", F("created_at"), "time"), newest_first=True)
    serializer_class = SnapshotOut

    def rows(self) -> QuerySet[Snapshot]:
        return _SNAPSHOTS.all()

    def list(self, request: Request, id: Any) -> HttpResponseBase:
        target = target_policy.get(request.user, "view", public_id=id)
        return self.page(self.get_queryset().filter(target=target))
