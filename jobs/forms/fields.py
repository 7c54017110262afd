"""The form fields that a run's parameters are typed into: which one a rule of a schema gets."""

import json
from collections import Counter
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from sites import strict_json
from sites.json_field import JSONField


def fits(value: Any) -> None:
    """Refuse what no body may hold either, such as a number that no double can hold."""
    try:
        strict_json.check(float(value) if isinstance(value, Decimal) else value)
    except ValueError as error:
        raise ValidationError(str(error)) from None


class OneOfField(forms.TypedChoiceField):
    """One of the values that a schema lists, each of its own type: 1 is not "1".

    A choice's key is made of its value alone, so that it stays the same when the list changes.
    """

    def __init__(self, values: list[Any], **about: Any) -> None:
        self.by_key = {_as_key(value): value for value in values}
        texts = {key: one if isinstance(one, str) else key for key, one in self.by_key.items()}
        times = Counter(texts.values())
        choices = [(key, text if times[text] == 1 else key) for key, text in texts.items()]
        super().__init__(
            choices=choices if about["required"] else [("", "–"), *choices],
            coerce=self.by_key.__getitem__,
            empty_value=None,
            **about,
        )

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Give the value that was chosen, as `initial` is one."""
        return self.by_key.get(data, data)

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else _as_key(value)


def _as_key(value: Any) -> str:
    """Write a value as JSON, a text without its quotes where it could be read as nothing else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON Schema has it that 1.0 is 1
    if isinstance(value, str):
        try:
            strict_json.load(value.encode())
        except ValueError:
            return value
    return json.dumps(value, sort_keys=True)


class LinesField(forms.CharField):
    """A list of texts, one a line."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return value
        lines = (value or "").splitlines()
        return [line.strip() if self.strip else line for line in lines if line.strip()]


def field_for(name: str, rule: dict[str, Any], *, required: bool) -> forms.Field:
    """Make the field of one parameter from the rule that its function's JSON Schema has for it."""
    about: dict[str, Any] = {
        "validators": [fits],
        "label": rule.get("title") or name.replace("_", " ").capitalize(),
        "help_text": rule.get("description", ""),
        "required": required,
        "initial": rule.get("default"),
    }
    if "enum" in rule:
        return OneOfField(rule["enum"], **about)
    match rule.get("type"):
        case "boolean":
            return forms.BooleanField(**about | {"required": False})
        case "integer":
            return forms.IntegerField(
                min_value=rule.get("minimum"), max_value=rule.get("maximum"), **about
            )
        case "number":
            return forms.DecimalField(
                min_value=rule.get("minimum"), max_value=rule.get("maximum"), **about
            )
        case "array" if _is_of_texts(rule.get("items")):
            return LinesField(widget=forms.Textarea(attrs={"rows": 3}), **about)
        case "object" | "array":
            field = JSONField(widget=forms.Textarea(attrs={"rows": 4}), **about)
            # Django would take {} and [] for nothing, and say so of a required one.
            field.empty_values = [None, ""]
            return field
        case _:
            return forms.CharField(max_length=rule.get("maxLength", 4000), **about)


def _is_of_texts(items: Any) -> bool:
    """Say so of a rule for items; it may also be a bare true or false."""
    return isinstance(items, dict) and items.get("type") == "string"


def as_text(field: forms.Field, value: Any) -> Any:
    """Give a stored value as `field` begins with it."""
    if isinstance(field, forms.JSONField):
        return value
    if isinstance(field, LinesField) and not isinstance(value, list):
        return json.dumps(value)
    return value


def dress(field: forms.Field, *, wrong: bool) -> None:
    """Give a field its look, and say to readers of the screen where it is wrong."""
    css = "form-control"
    if isinstance(field.widget, forms.CheckboxInput | forms.CheckboxSelectMultiple):
        css = "form-check-input"
    elif isinstance(field.widget, forms.Select):
        css = "form-select"
    field.widget.attrs["class"] = css
    if wrong:
        field.widget.attrs["aria-invalid"] = "true"
