"""What people can hear of, and what each level lets through: the only place."""

from django.db import models

from jobs.states import Result, Status


class News(models.TextChoices):
    """What happened: how a run ended (its result chip), or what became of no run."""

    FAILED = Status.FAILED.value, "Failed"
    TIMED_OUT = Status.TIMED_OUT.value, "Timed Out"
    # A planned start that the portal was too late for.
    MISSED = "missed", "Missed"
    # Many agents fell silent at once, of which administrators alone hear.
    SILENT = "silent", "Agents silent"
    PARTIAL = Result.PARTIAL.value, "Partial"
    MODIFIED = Result.MODIFIED.value, "Modified"
    UP_TO_DATE = Result.UP_TO_DATE.value, "Up to Date"
    SUCCESS = Result.SUCCESS.value, "Success"
    CANCELED = Status.CANCELED.value, "Canceled"


class Level(models.TextChoices):
    """How much a person wants to hear of a site."""

    NOTHING = "nothing", "Nothing"
    PROBLEMS = "problems", "Problems"
    CHANGES = "changes", "Problems and changes"
    EVERYTHING = "everything", "Everything"


# What needs somebody. A run of which a part failed is among it: nothing else would say so.
PROBLEMS = frozenset({News.FAILED, News.TIMED_OUT, News.MISSED, News.SILENT, News.PARTIAL})
HEARD: dict[str, frozenset[News]] = {
    Level.NOTHING: frozenset(),
    Level.PROBLEMS: PROBLEMS,
    Level.CHANGES: PROBLEMS | {News.MODIFIED},
    Level.EVERYTHING: frozenset(News),
}


def hears(level: str, news: News) -> bool:
    """Say whether who chose this level hears of it."""
    return news in HEARD[level]
