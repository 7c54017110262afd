"""Why a site or target cannot be archived yet: a run is active there."""

from sites.models import Site, Target

from .models import JobRun


def active_runs(place: Site | Target) -> str | None:
    """Say that runs are active at a place, or nothing."""
    column = "site" if isinstance(place, Site) else "target"
    active = JobRun.objects.active().filter(**{column: place}).count()
    if not active:
        return None
    runs = "a run is" if active == 1 else f"{active} runs are"
    return f"“{place}” cannot be archived while {runs} active there."
