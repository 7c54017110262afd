"""The forms of schedules: when a job, or all jobs of a site, start by themselves."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from jobs.models import Job, Overlap, SiteSchedule
from jobs.models.job import LONGEST_GRACE_S, LONGEST_SPREAD_S
from jobs.schedule import DAYS, LONGEST_CRON, NAMES, Kind

DAY_CHOICES = tuple(zip(DAYS, (name[:3] for name in NAMES), strict=True))
MOST_AT_ONCE = 100


def minutes(seconds: int) -> Decimal:
    """Seconds as the form shows them."""
    return (Decimal(seconds) / 60).quantize(Decimal("0.01")).normalize() + 0


class TimesForm(forms.Form):
    """Which times; what the chosen kind does not use is not shown and does not count."""

    kind = forms.ChoiceField(label="Starts", choices=Kind.choices, required=False)
    time = forms.TimeField(
        label="At",
        required=False,
        input_formats=["%H:%M", "%H:%M:%S"],
        error_messages={"invalid": "Write a time such as 02:00."},
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
    )
    days = forms.MultipleChoiceField(
        label="On",
        choices=DAY_CHOICES,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    cron = forms.CharField(
        label="Cron expression",
        max_length=LONGEST_CRON,
        required=False,
        help_text="Five fields: minute, hour, day of the month, month, day of the week.",
        widget=forms.TextInput(
            attrs={"placeholder": "30 2 * * mon-fri", "autocomplete": "off", "spellcheck": "false"}
        ),
    )

    def __init__(
        self, *args: Any, planned: Job | SiteSchedule | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs | {"prefix": "schedule"})
        if planned is not None:
            self.initial = {
                **self.initial,
                "kind": planned.schedule_kind,
                "time": planned.schedule_time,
                "days": planned.schedule_days,
                "cron": planned.schedule_cron,
            }

    def apply(self, planned: Any) -> None:
        """Set the times on what is planned, without saving it."""
        data = self.cleaned_data
        planned.schedule_kind = data["kind"] or Kind.NONE
        planned.schedule_time = data["time"]
        planned.schedule_days, planned.schedule_cron = data["days"], data["cron"]

    def take(self, errors: dict[str, list[str]]) -> None:
        """Put what the rule refused, `schedule.<field>`, beside its field."""
        for name, texts in errors.items():
            field = name.removeprefix("schedule.")
            for text in texts:
                self.add_error(field if field in self.fields else None, text)


class JobScheduleForm(TimesForm):
    """When a job starts, and what becomes of starts that come late or meet a run."""

    enabled = forms.BooleanField(label="The schedule is on", required=False, initial=True)
    overlap = forms.ChoiceField(
        label="While a run is still active",
        choices=Overlap.choices,
        required=False,
        initial=Overlap.SKIP,
        help_text="A start that is skipped is on record with the reason.",
    )
    grace = forms.DecimalField(
        label="Made up for when late, minutes",
        min_value=0,
        max_value=LONGEST_GRACE_S // 60,
        decimal_places=2,
        required=False,
        initial=10,
        help_text="After that a start that the portal missed stays missed, and is told.",
    )
    spread = forms.DecimalField(
        label="Spread over, minutes",
        min_value=0,
        max_value=LONGEST_SPREAD_S // 60,
        decimal_places=2,
        required=False,
        initial=0,
        help_text="Jobs of one time then start one after the other, each always at its own minute.",
    )
    site_order = forms.IntegerField(
        label="Place in the site's schedule",
        min_value=0,
        max_value=30_000,
        required=False,
        initial=0,
        help_text="Smaller goes first; the name decides between equals.",
    )

    def __init__(self, *args: Any, planned: Job | None = None, **kwargs: Any) -> None:
        super().__init__(*args, planned=planned, **kwargs)
        if planned is not None:
            self.initial = {
                **self.initial,
                "enabled": planned.enabled,
                "overlap": planned.overlap,
                "grace": minutes(planned.grace_s),
                "spread": minutes(planned.spread_s),
                "site_order": planned.site_order,
            }

    def apply(self, planned: Job) -> None:
        """Set all that the form says on a job, without saving it."""
        super().apply(planned)
        data = self.cleaned_data
        # Without times there is nothing to switch off.
        planned.enabled = data["enabled"] or not data["kind"]
        planned.overlap = data["overlap"] or planned.overlap
        for name in ("grace", "spread"):
            if data[name] is not None:
                setattr(planned, f"{name}_s", round(data[name] * 60))
        if data["site_order"] is not None:
            planned.site_order = data["site_order"]


class SiteScheduleForm(TimesForm):
    """When all jobs of a site start that are marked for it, and how many at once."""

    at_once = forms.IntegerField(
        label="At once, at most",
        min_value=1,
        max_value=MOST_AT_ONCE,
        initial=1,
        help_text="The others wait for their turn; a run that ends lets the next one go.",
    )

    def __init__(self, *args: Any, planned: SiteSchedule | None = None, **kwargs: Any) -> None:
        super().__init__(*args, planned=planned, **kwargs)
        kind = self.fields["kind"]
        assert isinstance(kind, forms.ChoiceField)
        kind.choices = [
            (value, "Never" if value == Kind.NONE else label)
            for value, label in Kind.choices
            if value != Kind.SITE
        ]
        if planned is not None:
            self.initial["at_once"] = planned.at_once

    def apply(self, planned: SiteSchedule) -> None:
        """Set all that the form says on a site's schedule, without saving it."""
        super().apply(planned)
        planned.at_once = self.cleaned_data["at_once"]
