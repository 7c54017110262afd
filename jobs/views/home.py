"""The first page: what needs the viewer, what is at work, and how far the set-up is."""

from typing import Any

from django.db.models import Exists, OuterRef, Q, Subquery
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from agents.models import Agent
from agents.permissions import agent_policy
from jobs import waiting
from jobs.models import Job, JobRun, Proposal
from jobs.permissions import job_policy, run_policy
from jobs.states import Result, Status
from sites.models import Organization, Target
from sites.pages import PortalRequest, within_organization
from sites.permissions import target_policy

SHOWN = 20
# These have done nothing yet, or never: how a job is, the run before them says.
_NOT_BEGUN = [Status.PENDING, Status.CANCELED]
# A job whose newest run ended like this waits for a person.
_UNWELL = Q(status__in=[Status.FAILED, Status.TIMED_OUT]) | Q(result=Result.PARTIAL)
_UNACCEPTED = Q(proposal__state=Proposal.State.OPEN)


@within_organization
@require_GET
def home(request: PortalRequest) -> HttpResponse:
    """Answer whether anything needs the viewer; each line has its one next step."""
    jobs = Job.objects.in_use().filter(organization=request.organization)
    visible = job_policy.rows(request.user, "view", jobs)
    begun = JobRun.objects.filter(job=OuterRef("pk")).exclude(status__in=_NOT_BEGUN)
    newest = run_policy.rows(request.user, "view", begun).order_by("-created_at", "-id")
    next_one = run_policy.rows(
        request.user, "view", JobRun.objects.filter(job=OuterRef("job"), status=Status.PENDING)
    )
    startable = job_policy.rows(request.user, "start", Job.objects.filter(pk=OuterRef("job")))
    unwell = list(
        JobRun.objects.for_rows()
        .annotate(
            next_one=Subquery(next_one.order_by("created_at", "id").values("public_id")[:1]),
            may_start=Exists(startable),
        )
        .filter(
            _UNWELL | _UNACCEPTED,
            pk__in=visible.values_list(Subquery(newest.values("pk")[:1])),
        )
        .order_by("-created_at", "-id")[: SHOWN + 1]
    )
    agents = agent_policy.rows(
        request.user,
        "view",
        Agent.objects.in_use().filter(organization=request.organization).with_state(),
    ).select_related("site")
    silent = list(agents.filter(state="disconnected")[: SHOWN + 1])
    # What ought to start by itself and does not: nothing else of it would ever be seen.
    stuck = list(
        visible.exclude(schedule_fault="").select_related("site").order_by("name")[: SHOWN + 1]
    )
    active = JobRun.objects.for_rows().active().filter(organization=request.organization)
    running = waiting.told(
        run_policy.rows(request.user, "view", active).order_by("created_at", "id")[: SHOWN + 1],
        by=request.user,
    )
    needs = len(unwell) + len(silent) + len(stuck)
    more = max(len(unwell), len(silent), len(stuck)) > SHOWN
    return render(
        request,
        "jobs/home.html",
        {
            "nav": "home",
            "needs": f"More than {SHOWN}" if more else str(needs),
            "needs_number": needs,
            "unwell": unwell[:SHOWN],
            "silent": silent[:SHOWN],
            "stuck": stuck[:SHOWN],
            "running": running[:SHOWN],
            "running_more": len(running) > SHOWN,
            "setup": _setup(request, agents, visible),
            "permitted": run_policy.permitted(
                request.user,
                ["cancel"],
                [run.pk for run in running if run.status == Status.PENDING],
            ),
            "now": timezone.now(),
        },
    )


def _setup(request: PortalRequest, agents: Any, jobs: Any) -> list[dict[str, Any]]:
    """List what is left to set up; empty once all is done, or nothing the viewer may do."""
    targets = Target.objects.filter(organization=request.organization)
    runs = JobRun.objects.filter(organization=request.organization, status=Status.COMPLETED)
    done = (
        Organization.objects.filter(pk=request.organization.pk)
        .values_list(
            Exists(agents.filter(enrolled_at__isnull=False)),
            Exists(jobs),
            Exists(runs),
            Exists(target_policy.rows(request.user, "create_job", targets)),
            Exists(agent_policy.rows(request.user, "manage", agents)),
        )
        .get()
    )
    seen, saved, ran, may_add, may_manage = done
    if (seen and saved and ran) or not (may_add or may_manage):
        return []
    return [
        {"words": "An agent is connected", "done": seen, "url": "agent-add", "do": "Add an agent"},
        {"words": "A job is saved", "done": saved, "url": "job-add", "do": "Add job"},
        {"words": "The first run is done", "done": False, "url": "job-list", "do": "Run one now"},
    ]
