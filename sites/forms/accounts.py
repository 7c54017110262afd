"""The forms of people who are not logged in: for a forgotten password, and for joining."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest

from .. import passwords


class ForgottenPasswordForm(forms.Form):
    """The address of an account whose password was forgotten."""

    email = forms.EmailField(label="Email address", max_length=254)

    def save(self, request: HttpRequest) -> None:
        """Have the link sent; what is done here is the same whether there is an account or not."""
        passwords.ask_for_link(self.cleaned_data["email"])


class SignUpForm(forms.Form):
    """The name and the password of a person who was invited."""

    first_name = forms.CharField(
        label="First name",
        max_length=150,
        widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "given-name"}),
    )
    last_name = forms.CharField(
        label="Last name",
        max_length=150,
        required=False,
        widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "family-name"}),
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"class": "form-control", "autocomplete": "new-password"}),
        help_text="At least 12 characters: some words that nobody would guess, for example.",
    )
    again = forms.CharField(
        label="Password again",
        strip=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"class": "form-control", "autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("password") and data.get("again") and data["password"] != data["again"]:
            self.add_error("again", "This is not the same password.")
        return data
