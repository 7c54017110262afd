"""The pages of schedules: the preview while one types, and the schedule of a site."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from jobs import planning
from jobs.forms.fields import dress
from jobs.forms.schedule import JobScheduleForm, SiteScheduleForm, TimesForm
from jobs.models import Job, SiteSchedule
from jobs.permissions import job_policy
from jobs.schedule import Kind
from sites.models import Site, Target
from sites.pages import PortalRequest, within_organization
from sites.permissions import site_policy, target_policy
from sites.problems import Refused


@within_organization
@require_POST
def job_preview(request: PortalRequest, public_id: UUID | None = None) -> HttpResponse:
    """Show what the times in a job's form mean: at the job's site, or the chosen target's."""
    form = JobScheduleForm(request.POST)
    job = _job(request, public_id)
    if job is None or not form.is_valid():
        return _shown(request, form, None)
    form.apply(job)
    if public_id is not None:
        return _shown(request, form, job)
    # Its own delay follows from the id that it is going to have.
    job.spread_s = 0
    return _shown(request, form, job, spread=form.cleaned_data["spread"])


def _job(request: PortalRequest, public_id: UUID | None) -> Job | None:
    """Give the job that is edited, or one at the target that is chosen; None before that."""
    here = {"organization": request.organization}
    if public_id is not None:
        jobs = Job.objects.filter(**here).select_related("site__schedule")
        found: Job = job_policy.get(request.user, "view", jobs, public_id=public_id)
        return found
    targets = target_policy.rows(request.user, "create_job", Target.objects.filter(**here))
    try:
        chosen = UUID(request.POST.get("target", ""))
    except ValueError:
        return None
    target = targets.filter(public_id=chosen).select_related("site").first()
    return None if target is None else Job(target=target, site=target.site)


@within_organization
@require_POST
def site_preview(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Show what the times in the form of a site's schedule mean."""
    site = site_policy.get(request.user, "manage", _sites(request), public_id=public_id)
    form = SiteScheduleForm(request.POST)
    if not form.is_valid():
        return _shown(request, form, None)
    planned = SiteSchedule(site=site)
    form.apply(planned)
    return _shown(request, form, planned)


def _shown(
    request: PortalRequest, form: TimesForm, planned: Job | SiteSchedule | None, **more: Any
) -> HttpResponse:
    about: dict[str, Any] = {}
    if planned is not None and planned.schedule_kind != Kind.NONE:
        try:
            about = {"shown": planning.preview(planned)} | more
        except Refused as refusal:
            about = {"wrong": refusal.detail}
    elif form.errors:
        about = {"wrong": next(iter(form.errors.values()))[0]}
    elif planned is None and form.cleaned_data["kind"]:
        about = {"wrong": "Choose the target first: times are those of its site."}
    return render(request, "jobs/schedule_preview.html", about)


def _sites(request: PortalRequest) -> Any:
    return Site.objects.filter(organization=request.organization, archived_at=None)


@within_organization
@require_http_methods(["GET", "POST"])
def site_schedule(request: PortalRequest, public_id: UUID) -> HttpResponse:
    """Say when all jobs of a site start that are marked for it, and how many at once."""
    site = site_policy.get(request.user, "manage", _sites(request), public_id=public_id)
    planned = planning.of_site(site)
    stored = planning.mark_of(planned)
    seen = request.POST.get("seen", stored)
    form = SiteScheduleForm(request.POST if request.method == "POST" else None, planned=planned)
    if request.method == "POST" and form.is_valid():
        form.apply(planned)
        try:
            planning.save_for_site(planned, seen=seen)
        except Refused as refusal:
            form.take(refusal.errors or {"": [refusal.detail]})
            if refusal.code == "changed":
                seen = stored  # who saves again has been told
        else:
            messages.info(request, f"The schedule of {site.name} is saved.")
            return redirect("site-list")
    for name, field in form.fields.items():
        dress(field, wrong=form.is_bound and name in form.errors)
    return render(
        request,
        "jobs/site_schedule.html",
        {
            "nav": "sites",
            "site": site,
            "planned": planned,
            "seen": seen,
            "form": form,
            "marked": job_policy.rows(request.user, "view", planning.marked_at(site)),
        },
        status=422 if form.errors else 200,
    )
