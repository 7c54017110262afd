"""The form of an access token: what it is for, what it may, how long it lasts."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import forms
from django.utils import timezone

from ..models import AccessToken

LASTING = (("30", "30 days"), ("90", "90 days"), ("365", "One year"), ("never", "Until revoked"))


class TokenForm(forms.Form):
    """A name to know the token by, and when it ends by itself."""

    name = forms.CharField(
        label="What it is for",
        max_length=120,
        widget=forms.TextInput(
            attrs={"class": "form-control", "placeholder": "nightly export", "autocomplete": "off"}
        ),
    )
    scope = forms.ChoiceField(
        label="It may",
        choices=AccessToken.Scope.choices,
        initial=AccessToken.Scope.READ,
        widget=forms.Select(attrs={"class": "form-select"}),
    )
    lasts = forms.ChoiceField(
        label="Valid for",
        choices=LASTING,
        initial="90",
        widget=forms.Select(attrs={"class": "form-select"}),
    )

    def expires_at(self) -> datetime | None:
        """Give the instant at which a token made now ends, None where only a person ends it."""
        days = self.cleaned_data["lasts"]
        return None if days == "never" else timezone.now() + timedelta(days=int(days))
