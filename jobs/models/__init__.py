"""The tables of jobs, runs and what runs leave behind."""

from .evidence import LateReport, Pruned, RunFile, RunInput, RunLog, RunRecord
from .job import Job, Overlap
from .proposal import Proposal
from .run import Claim, JobRun, StatusTransition
from .schedule import Occurrence, SiteSchedule

__all__ = [
    "Claim",
    "Job",
    "JobRun",
    "LateReport",
    "Occurrence",
    "Overlap",
    "Proposal",
    "Pruned",
    "RunFile",
    "RunInput",
    "RunLog",
    "RunRecord",
    "SiteSchedule",
    "StatusTransition",
]
