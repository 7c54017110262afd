"""Decides what Prometheus reads, and who may ask.

Requests are counted by each process in files of its own, which whichever process is asked adds up.
All else is read from the database when asked, by statements whose cost does not grow with history.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

# prometheus_client looks for the folder when it is imported.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(settings.METRICS_DIR))
Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(mode=0o700, parents=True, exist_ok=True)

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest  # noqa: E402
from prometheus_client.core import GaugeMetricFamily, Metric  # noqa: E402
from prometheus_client.exposition import CONTENT_TYPE_LATEST  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector  # noqa: E402

from agents.authentication import bearer  # noqa: E402
from agents.models import Agent  # noqa: E402
from config import watch  # noqa: E402
from config.disks import fullest  # noqa: E402
from jobs.models import JobRun  # noqa: E402
from jobs.states import ACTIVE  # noqa: E402
from sites import ticks  # noqa: E402
from sites.problems import problem  # noqa: E402

REQUESTS = Counter(
    "yardmaster_http_requests_total", "Requests answered.", ["door", "method", "status"]
)
SECONDS = Histogram(
    "yardmaster_http_request_seconds",
    "Seconds from a request's arrival to the first byte of its answer.",
    ["door"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
)
# Addresses hold ids, which would make as many series as there are runs.
DOORS = ("/api/v1/agent/", "agent"), ("/api/", "api"), ("/admin/", "admin"), ("/static/", "static")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
KEPT_FOR_S = 86400


def count(path: str, method: str | None, status: int, seconds: float) -> None:
    """Count a request that was answered."""
    door = next((name for prefix, name in DOORS if path.startswith(prefix)), "page")
    REQUESTS.labels(door, method if method in METHODS else "other", str(status)).inc()
    SECONDS.labels(door).observe(seconds)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Give everything in Prometheus' text form, to who has the token or is on this machine."""
    if not may_ask(request):
        body = problem(
            403,
            "not_allowed",
            "Metrics are told to this machine alone, or to who sends METRICS_TOKEN as a bearer "
            "token once that is set.",
        )
        return JsonResponse(body, status=403, content_type="application/problem+json")
    _forget_ended_processes()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    registry.register(_Portal())
    answer = HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
    answer["Cache-Control"] = "no-store"
    return answer


class _Portal:
    """What the database says, read at each scrape."""

    def collect(self) -> Iterator[Metric]:
        active = dict.fromkeys(sorted(map(str, ACTIVE)), 0)
        rows = JobRun.objects.filter(status__in=list(active)).order_by()
        active |= dict(rows.values_list("status").annotate(Count("id")))
        yield _gauge("yardmaster_runs_active", "Runs that have not ended.", "status", active)

        yield GaugeMetricFamily(
            "yardmaster_oldest_pending_run_seconds",
            "How long the run has waited that waits longest.",
            value=watch.oldest_pending_s() or 0.0,
        )

        states = dict.fromkeys(["active", "disconnected", "draining", "setting_up"], 0)
        in_use = Agent.objects.in_use().with_state().order_by()
        states |= dict(in_use.values_list("state").annotate(Count("id")))  # type: ignore[misc]
        yield _gauge("yardmaster_agents", "Agents that are not retired.", "state", states)

        yield _gauge(
            "yardmaster_tick_age_seconds",
            "Seconds since work that repeats was last done; absent when it never was.",
            "tick",
            ticks.ages(),
        )

        yield GaugeMetricFamily(
            "yardmaster_oldest_delivery_seconds",
            "How long the oldest has waited of what people are to be told, since it was due.",
            value=watch.deliveries().age_s or 0.0,
        )

        yield GaugeMetricFamily(
            "yardmaster_disk_free_bytes",
            "Free bytes of the fullest disk that the portal writes to.",
            value=fullest().free,
        )
        yield GaugeMetricFamily(
            "yardmaster_database_seconds",
            "How long the database took to answer an empty question.",
            value=watch.database_s(),
        )


def _gauge(name: str, text: str, label: str, values: dict[str, Any]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def may_ask(request: HttpRequest) -> bool:
    """Say whether figures are told to who asks: they have the token, or are on this machine."""
    if settings.METRICS_TOKEN:
        given = bearer(request.META.get("HTTP_AUTHORIZATION", ""))
        return hmac.compare_digest(given.encode(), settings.METRICS_TOKEN.encode())
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _forget_ended_processes() -> None:
    """Remove the counts of processes that ended a day ago; until then sums do not go back."""
    before = time.time() - KEPT_FOR_S
    for path in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("*.db"):
        number = path.stem.rpartition("_")[2]
        try:
            if number.isdigit() and path.stat().st_mtime < before and not _runs(int(number)):
                path.unlink()
        except FileNotFoundError:
            continue


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
