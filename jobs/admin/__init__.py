"""The admin of jobs, runs and of what runs leave behind. What a run was given has no page here."""

from . import evidence, jobs, planned, proposals, runs

__all__ = ["evidence", "jobs", "planned", "proposals", "runs"]
