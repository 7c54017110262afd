"""Addresses of the portal's pages about jobs and runs."""

from django.urls import path

from .views import coverage, home, manage, planned, proposals, run, runs, schedules

urlpatterns = [
    path("", home.home, name="home"),
    path("jobs", runs.my_jobs, name="run-list"),
    path("jobs/history", runs.history, name="run-history"),
    path("jobs/history/export", runs.export, name="run-export"),
    path("jobs/planned", planned.planned_list, name="planned-list"),
    path("jobs/manage", manage.job_list, name="job-list"),
    path("jobs/manage/add", manage.job_add, name="job-add"),
    path("jobs/manage/add/preview", schedules.job_preview, name="job-add-preview"),
    path("jobs/manage/<uuid:public_id>", manage.job_detail, name="job-detail"),
    path("jobs/manage/<uuid:public_id>/edit", manage.job_edit, name="job-edit"),
    path("jobs/manage/<uuid:public_id>/edit/preview", schedules.job_preview, name="job-preview"),
    path("jobs/manage/<uuid:public_id>/run", manage.backup_now, name="job-run"),
    path("jobs/manage/<uuid:public_id>/pause", manage.job_pause, name="job-pause"),
    path("jobs/manage/<uuid:public_id>/resume", manage.job_resume, name="job-resume"),
    path("jobs/manage/<uuid:public_id>/archive", manage.job_archive, name="job-archive"),
    path("sites/coverage", coverage.coverage, name="coverage"),
    path("sites/<uuid:public_id>/schedule", schedules.site_schedule, name="site-schedule"),
    path(
        "sites/<uuid:public_id>/schedule/preview",
        schedules.site_preview,
        name="site-schedule-preview",
    ),
    path("jobs/proposals", proposals.proposal_list, name="proposal-list"),
    path("jobs/<uuid:public_id>", run.run_detail, name="run-detail"),
    path("jobs/<uuid:public_id>/cancel", runs.cancel, name="run-cancel"),
    path("jobs/<uuid:public_id>/accept", proposals.accept, name="run-accept"),
    path("jobs/<uuid:public_id>/reject", proposals.reject, name="run-reject"),
    path("jobs/<uuid:public_id>/pin", runs.pin, name="run-pin"),
    path("jobs/<uuid:public_id>/unpin", runs.unpin, name="run-unpin"),
    path("jobs/<uuid:public_id>/retry", runs.retry, name="run-retry"),
    path("jobs/<uuid:public_id>/call-off", runs.call_off, name="run-call-off"),
    path("jobs/<uuid:public_id>/log", run.run_log, name="run-log"),
    path("jobs/<uuid:public_id>/files/<uuid:file_id>", run.run_file, name="run-file"),
]
