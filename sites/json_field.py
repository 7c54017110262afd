"""How JSON that a person types into a form is read: by the parser of the API, as strictly."""

from __future__ import annotations

from typing import Any

from django import forms
from django.forms.fields import InvalidJSONInput, JSONString

from .strict_json import load


class JSONField(forms.JSONField):
    """Takes what a column can hold; the rest is an error beside the field, in words."""

    def to_python(self, value: Any) -> Any:
        """Read the text; ValidationError says what is wrong with it."""
        if not isinstance(value, str) or isinstance(value, JSONString) or self.disabled:
            return super().to_python(value)
        if not value.strip():
            return None
        try:
            found = load(value.encode(errors="replace"))
        except ValueError as error:
            raise forms.ValidationError(str(error), code="invalid") from None
        return JSONString(found) if isinstance(found, str) else found

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Give what was typed back to be shown: as it was typed where it cannot be read."""
        if data is None or self.disabled:
            return super().bound_data(data, initial)
        try:
            return load(data.encode(errors="replace"))
        except ValueError:
            return InvalidJSONInput(data)

    def prepare_value(self, value: Any) -> Any:
        """Show nothing for nothing, instead of the word null."""
        return "" if value is None else super().prepare_value(value)
