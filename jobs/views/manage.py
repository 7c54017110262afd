"""The pages of saved jobs: Job Management, one job, adding and editing, Backup Now, archiving."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from agents.models import Function
from jobs import definitions, doubts, starts, waiting
from jobs.filters import JobFilter
from jobs.forms.job import JobForm, functions_for
from jobs.masking import shown_parameters
from jobs.models import Job, JobRun
from jobs.pages import page_of_runs
from jobs.permissions import job_policy, run_policy
from jobs.querysets import PAUSED, JobQuerySet
from jobs.states import Status
from jobs.views import narrowing, planned
from jobs.views.runs import SIZES, ids_in, size_of
from sites.models import Target
from sites.pages import PortalRequest, ask_pause, back, within_organization
from sites.permissions import site_policy, target_policy
from sites.problems import Refused

# Tabs of Job Management → what its address says of them.
TABS = {
    "backups": ("backs_up", "true"),
    "functions": ("backs_up", "false"),
    "paused": ("paused", "true"),
}
MENUS = ("agent", "site")


def _jobs(request: PortalRequest) -> JobQuerySet:
    """Give the organization's jobs with what their rows show.

    The button of one that backs up says "Backup Now", others' "Run now".
    """
    joined = (
        "organization", "site__paused_by", "site__schedule", "target", "function__tool", "agent",
        "pool", "owner", "paused_by",
    )  # fmt: skip
    jobs = Job.objects.filter(organization=request.organization)
    return jobs.select_related(*joined).with_kind()


def _addable(request: PortalRequest) -> QuerySet[Target]:
    """Give the targets that the viewer may add a job for."""
    return target_policy.rows(
        request.user, "create_job", Target.objects.filter(organization=request.organization)
    )


def _newest_runs(request: PortalRequest, jobs: list[Job]) -> dict[int, JobRun]:
    """Give each job's newest run that the viewer may see, and why it waits, in two queries."""
    newest = run_policy.rows(
        request.user, "view", JobRun.objects.filter(job=OuterRef("pk"))
    ).order_by("-created_at", "-id")
    found = Job.objects.filter(pk__in=[job.pk for job in jobs]).values(
        newest=Subquery(newest.values("pk")[:1])
    )
    runs = waiting.told(JobRun.objects.for_rows().filter(pk__in=found), by=request.user)
    return {run.job_id: run for run in runs if run.job_id is not None}


@within_organization
@require_GET
def job_list(request: PortalRequest) -> HttpResponse:
    """List the saved jobs with target, agent, last activity, and Backup Now in each row."""
    rows = job_policy.rows(request.user, "view", _jobs(request).in_use())
    context: dict[str, Any] = {"nav": "manage"}
    addable = _addable(request)
    if "rows" in request.GET:
        jobs = list(rows.filter(public_id__in=ids_in(request, "rows")))
        may_add = addable.exists()
    else:
        params = request.GET.copy()
        said = {name: params.pop(name, [""])[-1] for name in ("backs_up", "paused")}
        tab = next((tab for tab, (name, value) in TABS.items() if said[name] == value), "all")
        filters = JobFilter(params, queryset=rows.order_by("name", "id"), request=request)
        errors = narrowing.errors_of(filters)
        found = rows.none() if errors else filters.qs
        on_tab = {
            "all": Q(),
            "backups": Q(backs_up=True),
            "functions": Q(backs_up=False),
            "paused": PAUSED,
        }
        # Asked along with the counts, which say nothing of it where there is nothing to count.
        asked = on_tab | {"may_add": Q(Exists(addable))}
        counts = found.aggregate(**{name: Count("pk", filter=on) for name, on in asked.items()})
        may_add = bool(counts["may_add"]) if counts["all"] else addable.exists()
        found = found.filter(on_tab[tab])
        if request.GET.get("ordering") == "-name":
            found = found.order_by("-name", "-id")
        pages = Paginator(found, size_of(request))
        pages.count = counts[tab]
        page = pages.get_page(request.GET.get("page"))
        jobs = list(page.object_list)
        context |= {
            "page": page,
            "tab": tab,
            "counts": counts,
            "menus": narrowing.menus(request.GET, narrowing.choices_for(request, MENUS)),
            "pills": narrowing.pills(request.GET, narrowing.names_in(filters)),
            "filter_errors": errors,
            "kept": narrowing.kept(request.GET, "size"),
            "kept_for_search": narrowing.kept(request.GET, "search"),
            "size": size_of(request),
            "sizes": SIZES,
        }
    zones = {job.site.time_zone for job in jobs}
    context |= {
        "jobs": jobs,
        "newest": _newest_runs(request, jobs),
        "may_add": may_add,
        "permitted": job_policy.permitted(
            request.user, ["start", "edit"], [job.pk for job in jobs]
        ),
        "zone": zones.pop() if len(zones) == 1 else "",
        "paused_sites": site_policy.rows(
            request.user, "view", request.organization.sites.in_use().paused()
        ).select_related("paused_by"),
    }
    return render(request, "jobs/job_list.html", context)


@within_organization
@require_GET
def job_detail(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Show one saved job: what it does, its limits, and its newest runs that the viewer may see.

    An archived one stays to be read, since its runs lead here; nothing is done with it any more.
    """
    itself = Job.objects.filter(pk=OuterRef("pk"))
    asked: Any = _jobs(request).annotate(
        may_start=Exists(job_policy.rows(request.user, "start", itself)),
        may_edit=Exists(job_policy.rows(request.user, "edit", itself)),
    )
    job = job_policy.get(request.user, "view", asked, public_id=public_id)
    runs = page_of_runs(request.user, JobRun.objects.filter(job=job), size=10)
    return render(
        request,
        "jobs/job_detail.html",
        {
            "nav": "manage",
            "job": job,
            "runs": runs.rows,
            "older": runs.older,
            "last": runs.rows[0] if runs.rows else None,
            "permitted": run_policy.permitted(
                request.user,
                ["cancel"],
                [run.pk for run in runs.rows if run.status == Status.PENDING],
            ),
            "parameters": sorted(shown_parameters(job.function, job.parameters).items()),
            "zone": job.site.time_zone,
            "planned": planned.of_job(request, job),
            # Pauses have banners of their own.
            "doubts": doubts.of_job(job, by=request.user)
            if job.may_start and not (job.archived_at or job.target.archived_at)
            else [],
        },
    )


@within_organization
@require_http_methods(["GET", "POST"])
def job_add(request: PortalRequest) -> HttpResponse:
    """Add a job: first the function where several exist, then the rest."""
    targets = _addable(request)
    if not targets.exists():
        if not target_policy.rows(
            request.user, "view", Target.objects.filter(organization=request.organization)
        ).exists():
            return render(request, "jobs/job_add.html", {"nav": "manage", "nothing": "target"})
        raise PermissionDenied("Adding a job needs the Editor role at the target's site.")
    functions = list(functions_for(request.user, request.organization))
    if not functions:
        return render(request, "jobs/job_add.html", {"nav": "manage", "nothing": "function"})
    model = _model(request)
    chosen = str(model.function.public_id) if model else request.GET.get("function", "")
    function = next((each for each in functions if str(each.public_id) == chosen), None)
    if function is None and len(functions) == 1:
        function = functions[0]
    if function is None:
        return render(request, "jobs/job_add.html", {"nav": "manage", "functions": functions})
    initial = {"target": request.GET.get("target"), "name": request.GET.get("name", "")}
    form = _form(request, function, None, initial, model)
    if request.method == "POST" and form.is_valid():
        job = form.apply(Job(owner=request.user))
        if _saved(request, form, job):
            return redirect("job-detail", job.public_id)
    return render(
        request,
        "jobs/job_form.html",
        {"nav": "manage", "form": form, "function": function, "several": len(functions) > 1},
        status=422 if form.refused else 200,
    )


@within_organization
@require_http_methods(["GET", "POST"])
def job_edit(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Change a job; target and function stay. A link may propose a limit, `?run_timeout=15`."""
    job = job_policy.get(request.user, "edit", _jobs(request).in_use(), public_id=public_id)
    form = _form(request, job.function, job, None)
    if proposed := request.GET.get("run_timeout"):
        with suppress(ValidationError):
            form.initial["run_timeout"] = form.fields["run_timeout"].clean(proposed)
    stored = job.updated_at.isoformat()
    seen = request.POST.get("seen", stored)
    if request.method == "POST" and form.is_valid():
        if seen != stored:
            form.take({"": [definitions.changed(job).detail]})
            seen = stored  # who saves again has been told
        elif _saved(request, form, form.apply(job)):
            return redirect("job-detail", job.public_id)
    return render(
        request,
        "jobs/job_form.html",
        {"nav": "manage", "form": form, "function": job.function, "job": job, "seen": seen},
        status=422 if form.refused else 200,
    )


def _model(request: PortalRequest) -> Job | None:
    """Give the job that a new one is to be like, `?like=<id>`."""
    like = ids_in(request, "like")
    jobs = job_policy.rows(request.user, "view", _jobs(request).in_use())
    return jobs.filter(public_id__in=like).first() if like else None


def _form(
    request: PortalRequest,
    function: Function,
    job: Job | None,
    initial: dict[str, Any] | None,
    model: Job | None = None,
) -> JobForm:
    return JobForm(
        request.POST if request.method == "POST" else None,
        user=request.user,
        organization=request.organization,
        function=function,
        job=job,
        model=model,
        initial=initial,
    )


def _saved(request: PortalRequest, form: JobForm, job: Job) -> bool:
    """Save by the rule; what it refuses goes to the fields."""
    try:
        definitions.save(job, by=request.user)
    except Refused as refusal:
        form.take(refusal.errors or {"": [refusal.detail]})
        return False
    messages.info(request, f"{job.name} is saved.")
    return True


@within_organization
@require_POST
def backup_now(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Start a job on demand; one that is at work already gives its run."""
    job = job_policy.get(request.user, "start", _jobs(request), public_id=public_id)
    try:
        started = starts.start_run(job, by=request.user)
        waits = doubts.paused(job.site, job) if started.run.status == Status.PENDING else []
        if not started.created:
            at_work = "waits" if waits else "is at work"
            messages.info(request, f"{job.name} {at_work} already; no second run was started.")
        elif request.POST.get("go") == "run":
            return redirect("run-detail", started.run.public_id)
        elif waits:
            messages.info(request, f"{job.name} waits. {' '.join(waits)}")
    except Refused as refusal:
        messages.error(request, refusal.detail)
    return back(request, reverse("job-list"))


@within_organization
@require_http_methods(["GET", "POST"])
def job_pause(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Ask how long and why, then let no agent take a run of a job."""
    job = job_policy.get(request.user, "edit", _jobs(request).in_use(), public_id=public_id)
    return ask_pause(
        request,
        job,
        begin=definitions.pause,
        to=reverse("job-detail", args=[job.public_id]),
        nav="manage",
        what_waits="No agent takes a run of it until the pause is over.",
    )


@within_organization
@require_POST
def job_resume(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """End the pause of a job."""
    job = job_policy.get(request.user, "edit", _jobs(request), public_id=public_id)
    definitions.resume(job)
    return back(request, reverse("job-detail", args=[job.public_id]))


@within_organization
@require_http_methods(["GET", "POST"])
def job_archive(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Ask, then put a job away; its runs and their history stay."""
    job = job_policy.get(request.user, "edit", _jobs(request).in_use(), public_id=public_id)
    refused = ""
    if request.method == "POST":
        if request.POST.get("name", "").strip() != job.name:
            refused = "The name does not match; nothing was archived."
        else:
            try:
                definitions.archive(job, by=request.user)
                messages.info(request, f"{job.name} is archived. Its runs and their history stay.")
                return redirect("job-list")
            except Refused as refusal:
                refused = refusal.detail
    return render(
        request,
        "jobs/job_archive.html",
        {"nav": "manage", "job": job, "refused": refused},
        status=409 if refused else 200,
    )
