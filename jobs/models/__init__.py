"""The tables of jobs, runs and what runs leave behind."""

from .evidence import LateReport, RunFile, RunInput, RunLog, RunRecord
from .job import Job
from .proposal import Proposal
from .run import Claim, JobRun, StatusTransition

__all__ = [
    "Claim",
    "Job",
    "JobRun",
    "LateReport",
    "Proposal",
    "RunFile",
    "RunInput",
    "RunLog",
    "RunRecord",
    "StatusTransition",
]
