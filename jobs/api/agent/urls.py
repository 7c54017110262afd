"""Addresses under /api/v1/agent/ at which agents claim and report runs."""

from django.urls import include, path, register_converter
from django.urls.converters import IntConverter, StringConverter

from .evidence import File, Input, Log, Records
from .runs import Claims, Heartbeat, Result, Results, Run, Runs
from .snapshot import Content, Manifest, Objects, Open, Seal


class Attempt(IntConverter):
    """An attempt's number; no attempt has more digits."""

    regex = "[0-9]{1,9}"


class Sha256(StringConverter):
    regex = "[0-9a-f]{64}"


register_converter(Attempt, "attempt")
register_converter(Sha256, "sha256")

_attempt = [
    path("result", Result.as_view(), name="agent-result"),
    path("log", Log.as_view(), name="agent-log"),
    path("records", Records.as_view(), name="agent-records"),
    path("files/<uuid:file>", File.as_view(), name="agent-file"),
    path("inputs/<uuid:input>", Input.as_view(), name="agent-input"),
    path("snapshot", Open.as_view(), name="agent-snapshot"),
    path("snapshot/manifest", Manifest.as_view(), name="agent-manifest"),
    path("snapshot/objects", Objects.as_view(), name="agent-objects"),
    path("snapshot/content/<sha256:sha256>", Content.as_view(), name="agent-content"),
    path("snapshot/seal", Seal.as_view(), name="agent-seal"),
]

urlpatterns = [
    path("claims", Claims.as_view(), name="agent-claims"),
    path("heartbeat", Heartbeat.as_view(), name="agent-heartbeat"),
    path("runs", Runs.as_view(), name="agent-runs"),
    path("results", Results.as_view(), name="agent-results"),
    path("runs/<uuid:run>", Run.as_view(), name="agent-run"),
    path("runs/<uuid:run>/attempts/<attempt:attempt>/", include(_attempt)),
]
