"""The form of a pause: how long, and why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils import timezone

from ..models.pause import LONGEST_REASON
from ..pauses import SAY_WHY

OTHER = "other"
LASTING = (
    ("1", "One hour"),
    ("4", "Four hours"),
    ("24", "One day"),
    ("168", "One week"),
    (OTHER, "Until…"),
)


class PauseForm(forms.Form):
    """How long a pause lasts, as a span from now or to a time in the given zone, and its reason.

    A time that the zone's clock shows twice is the first; one that it leaves out, an hour later.
    Without a zone it asks about several, each in its own, and reads no answer.
    """

    lasts = forms.ChoiceField(
        label="How long",
        choices=LASTING,
        initial="4",
        widget=forms.Select(attrs={"class": "form-select"}),
    )
    until = forms.DateTimeField(
        label="Until",
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"],
        widget=forms.DateTimeInput(attrs={"class": "form-control", "type": "datetime-local"}),
    )
    reason = forms.CharField(
        label="Why",
        max_length=LONGEST_REASON,
        error_messages={"required": SAY_WHY},
        widget=forms.TextInput(
            attrs={
                "class": "form-control",
                "placeholder": "Maintenance of press line 1",
                "autocomplete": "off",
            }
        ),
    )

    def __init__(self, *args: Any, zone: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = zone
        where = zone or "the zone of its site"
        self.fields["until"].help_text = f"In {where}; counts with “Until…” alone."

    def clean(self) -> dict[str, Any]:
        """Settle the time; a time that was typed is one of the zone, not of the server."""
        data = super().clean() or {}
        if data.get("lasts") != OTHER:
            # What stands in the other field does not count.
            self.errors.pop("until", None)
            hours = int(data.get("lasts") or 0)
            data["until"] = timezone.now() + timedelta(hours=hours)
        elif (typed := data.get("until")) is not None:
            data["until"] = typed.replace(tzinfo=ZoneInfo(self.zone))
        elif "until" not in self.errors:
            self.add_error("until", "Say until when, or choose how long.")
        return data
