"""Jobs, runs, claims and what runs leave behind."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"
