"""The page of one run: summary, changes, details, files, log, status history."""

import re
from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_GET

from agents.models import Agent
from agents.permissions import agent_policy
from jobs import limits, retries, signs, waiting
from jobs.diagnosis import likely_causes, raised
from jobs.masking import shown_parameters
from jobs.meaning import meaning
from jobs.models import (
    Job,
    JobRun,
    LateReport,
    Pruned,
    RunFile,
    RunInput,
    RunLog,
    RunRecord,
)
from jobs.permissions import job_policy, rights_of, run_policy
from jobs.proposals import still_compared
from jobs.retention import pruned_of
from jobs.states import FINAL, Origin, Result, Status
from jobs.views.changes import changes_of
from sites.api.downloads import download_stored
from sites.pages import PortalRequest, within_organization

# What the log tab shows: the end of the log; the rest is for the download.
LOG_SHOWN = 200_000
RECORDS_SHOWN = 1_000
FILES_SHOWN = 500
# What a terminal would do with the text (colours, moving the cursor) is taken out.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def _run(request: PortalRequest, public_id: UUID, **more: Any) -> Any:
    runs = (
        JobRun.objects.for_rows()
        .select_related(
            "job__site",
            "retry_of",
            "proposal__decided_by",
            "proposal__superseded_by__run",
            "target__accepted_snapshot",
        )
        .annotate(
            records_number=_number_of(RunRecord),
            files_number=_number_of(RunFile),
            has_inputs=Exists(RunInput.objects.filter(run=OuterRef("pk"))),
            has_pruned=Exists(Pruned.objects.filter(run=OuterRef("pk"))),
            has_late_reports=Exists(LateReport.objects.filter(run=OuterRef("pk"))),
            **more,
        )
    )
    return run_policy.get(request.user, "view", runs, public_id=public_id)


def _for_page(request: PortalRequest) -> dict[str, Any]:
    """Say what the page asks besides, in the query of the run.

    `agent_state` is None where there is no page of the agent for the person.
    """
    agents = Agent.objects.in_use().with_state().filter(pk=OuterRef("agent"))
    # The agent whose connection a time-out may be about: who had the run, or was to take it.
    looked_at = agent_policy.rows(
        request.user,
        "view",
        Agent.objects.filter(pk=Coalesce(OuterRef("agent"), OuterRef("requested_agent"))),
    ).order_by()
    jobs = Job.objects.filter(pk=OuterRef("job"))
    return {
        "agent_state": Subquery(
            agent_policy.rows(request.user, "view", agents).order_by().values("state")[:1]
        ),
        "agent_seen_at": Subquery(looked_at.values("presence__seen_at")[:1]),
        "may_look": Exists(looked_at.filter(retired_at=None)),
        "may_decide": Exists(
            run_policy.rows(request.user, "decide", JobRun.objects.filter(pk=OuterRef("pk")))
        ),
        "next_try": Subquery(
            run_policy.rows(request.user, "view", JobRun.objects.filter(retry_of=OuterRef("pk")))
            .order_by("pk")
            .values("public_id")[:1]
        ),
        "may_edit": Exists(job_policy.rows(request.user, "edit", jobs)),
        **signs.evidence(),
    }


def _number_of(model: Any) -> Coalesce:
    rows = model.objects.filter(run=OuterRef("pk")).order_by().values("run")
    return Coalesce(Subquery(rows.annotate(number=Count("pk")).values("number")), 0)


@within_organization
@require_GET
def run_detail(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Show one run; only the tab that is open is read."""
    run = _run(request, public_id, **_for_page(request))
    waiting.told([run], by=request.user)
    transitions = list(run.transitions.select_related("user", "agent"))
    pruned = pruned_of(run, by=request.user) if run.has_pruned else []
    tabs = _tabs(run, len(transitions), {one.what for one in pruned})
    tab = request.GET.get("tab", "summary")
    if tab not in tabs:
        tab = "summary"
    permitted = run_policy.permitted(request.user, ["cancel", "inputs"], [run.pk])
    rights = rights_of(request.user, run) if run.status in FINAL else set()
    context: dict[str, Any] = {
        "nav": "history",
        "run": run,
        "zone": run.site.time_zone if run.site else "UTC",
        "transitions": transitions,
        "tabs": tabs,
        "tab": tab,
        "permitted": permitted,
        "may_retry": run.origin == Origin.LOCAL and "retry" in rights,
        "may_edit": run.may_edit,
        "may_pin": "pin" in rights,
        # On the tab where it would be; inputs have none of their own.
        "pruned": [one for one in pruned if tab in ("summary", one.what)],
        "says": meaning(run),
        "again": retries.will_retry(run),
        "waits": waiting.of(run, by=request.user),
        "longest_wait_s": limits.wait_s(run),
        "waits_until": limits.waits_until(run),
        "compared": run.target is not None and still_compared(run.target, run.base_snapshot_id),
    }
    if tab == "summary":
        context |= _summary(request, run, inputs="inputs" in permitted[run.pk])
    elif tab == "changes":
        context |= changes_of(run, request.GET)
    elif tab == "details":
        context["records"] = list(run.records.all()[:RECORDS_SHOWN])
        context["records_total"] = run.records_number
    elif tab == "files":
        context["files"] = list(run.files.all()[:FILES_SHOWN])
    elif tab == "log":
        context |= _log(run, LOG_SHOWN)
    return render(request, "jobs/run_detail.html", context)


def _tabs(run: Any, transitions: int, pruned: set[str]) -> dict[str, tuple[str, Any]]:
    """Name the tabs for which there is something, with their counts."""
    tabs: dict[str, tuple[str, Any]] = {"summary": ("Summary", None)}
    if run.snapshot is not None:
        tabs["changes"] = (
            "Changes",
            run.snapshot.changes if run.result != Result.UP_TO_DATE else 0,
        )
    if run.records_number:
        tabs["details"] = ("Details", run.records_number)
    if run.files_number or Pruned.What.FILES in pruned:
        tabs["files"] = ("Files", run.files_number)
    if run.log_length or Pruned.What.LOG in pruned:
        tabs["log"] = ("Log", None)
    tabs["history"] = ("Status history", transitions)
    return tabs


def _summary(request: PortalRequest, run: Any, *, inputs: bool) -> dict[str, Any]:
    return {
        "inputs": list(run.inputs.all()) if inputs and run.has_inputs else None,
        "parameters": sorted(shown_parameters(run.function, run.parameters).items()),
        "late_reports": list(run.late_reports.select_related("agent"))
        if run.has_late_reports
        else [],
        "causes": likely_causes(
            run,
            by=request.user,
            seen_at=run.agent_seen_at,
        )
        if run.status == Status.TIMED_OUT
        else [],
        "cause_agent": (run.agent or run.requested_agent) if run.may_look else None,
        "raised": raised(run) if run.status == Status.TIMED_OUT else None,
        **(_log(run, 2_000) if run.log_length else {}),
    }


def _log(run: JobRun, most: int) -> dict[str, Any]:
    """Read the end of the log, newest pieces first, until enough is there."""
    pieces: list[str] = []
    length = 0
    for text in (
        RunLog.objects.filter(run=run).order_by("-offset").values_list("text", flat=True)[:400]
    ):
        pieces.append(text)
        length += len(text)
        if length >= most:
            break
    text = clean_log("".join(reversed(pieces)))
    cut = len(text) > most or (length < run.log_length and len(pieces) == 400)
    if len(text) > most:
        text = text[-most:].partition("\n")[2]
    return {"log": text, "log_cut": cut}


def clean_log(text: str) -> str:
    """Take out of a log what a terminal would act on."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


@within_organization
@require_GET
def run_log(request: PortalRequest, public_id: UUID) -> StreamingHttpResponse:
    """Send the whole log as a text file, piece by piece."""
    run = _run(request, public_id)
    pieces = RunLog.objects.filter(run=run).order_by("offset").values_list("text", flat=True)
    answer = StreamingHttpResponse(
        (text for text in pieces.iterator(chunk_size=50)), content_type="text/plain; charset=utf-8"
    )
    answer["Content-Disposition"] = f'attachment; filename="run-{run.public_id}.log"'
    return answer


@within_organization
@require_GET
def run_file(request: PortalRequest, public_id: UUID, file_id: UUID) -> HttpResponseBase:
    """Send a file of the run, always as a download: what an agent made is never shown as a page."""
    run = _run(request, public_id)
    file = run.files.filter(public_id=file_id).first()
    if file is None:
        raise Http404("There is no such file.")
    return download_stored(request, file.storage_name, name=file.name)
