"""The forms about credentials: one with the secret of its kind, and where it is to stand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.db.models import Q

from .. import credentials
from ..models import Credential, Site, Target, User
from ..permissions import target_policy
from ..places import where_it_stands
from ..unshown import Unshown
from .places import offer_sites


class _HeadersField(forms.CharField):
    """HTTP headers, one a line: `Name: value`. No words about them hold what was typed.

    Says of lines what no object could hold; the rest is the rule's.
    """

    def clean(self, value: Any) -> Any:
        found: dict[str, str] = {}
        for number, line in enumerate(super().clean(value).splitlines(), 1):
            if not line.strip():
                continue
            name, colon, text = (part.strip() for part in line.partition(":"))
            if not (name and colon and text):
                raise forms.ValidationError(f"Line {number} is no “Name: value”.")
            if name in found:
                raise forms.ValidationError(f"Line {number} names a header for the second time.")
            found[name] = text
        return found


class _Unshown(Unshown, forms.Textarea):
    pass


def _unshown(rows: int, **attrs: Any) -> _Unshown:
    about = {"class": "form-control mono", "rows": rows, "autocomplete": "off"}
    return _Unshown(attrs=about | {"spellcheck": "false"} | attrs)


def _hidden() -> forms.PasswordInput:
    return forms.PasswordInput(attrs={"class": "form-control", "autocomplete": "new-password"})


# The parts of a secret as people write them, under the names by which the rule refuses them.
_SECRETS: dict[str, tuple[type[forms.CharField], str, Any, str]] = {
    "password": (forms.CharField, "Password", _hidden(), ""),
    "private_key": (
        forms.CharField,
        "Private key",
        _unshown(6, placeholder="-----BEGIN OPENSSH PRIVATE KEY-----"),
        "The whole of its file, from BEGIN to END.",
    ),
    "passphrase": (forms.CharField, "Passphrase", _hidden(), "Of the key, where it has one."),
    "headers": (
        _HeadersField,
        "Headers",
        _unshown(4, placeholder="Authorization: Bearer …"),
        "One a line: its name, a colon, its value.",
    ),
}


class CredentialForm(forms.Form):
    """A credential: its name, for which site it is, and the secret of its kind.

    The kind and the site of one that exists stay. Its secret is never filled in, and stays where
    nothing is written. What it was called when the page was opened is sent along, so that only what
    the person changed is: a colleague may have renamed it meanwhile.
    """

    name = forms.CharField(
        label="Name",
        max_length=120,
        widget=forms.TextInput(
            attrs={"class": "form-control", "placeholder": "Press lines", "autocomplete": "off"}
        ),
    )
    site = forms.ModelChoiceField(
        label="For the targets of",
        queryset=Site.objects.none(),
        required=False,
        to_field_name="public_id",
        widget=forms.Select(attrs={"class": "form-select"}),
    )
    username = forms.CharField(
        label="User name",
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs={"class": "form-control", "autocomplete": "off"}),
        help_text="By which one logs in there. It is no secret.",
    )

    def __init__(
        self, *args: Any, user: User, credential: Credential, adding: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._adding = adding
        if adding:
            offer_sites(
                self.fields["site"],
                user=user,
                organization=credential.organization,
                of_one="One of a site stands on that site's targets alone.",
            )
        else:
            del self.fields["site"]
            self.initial = {"name": credential.name, "username": credential.username}
            for name in self.initial:
                self.fields[name].show_hidden_initial = True
        # Headers say themselves who asks.
        if credential.kind == Credential.Kind.HEADERS and not credential.username:
            del self.fields["username"]
        must, may = credentials.PARTS[credential.kind]
        for part in (*must, *may):
            made, label, widget, words = _SECRETS[part]
            self.fields[f"secret.{part}"] = made(
                label=label,
                required=adding and part in must,
                strip=False,
                max_length=credentials.LONGEST,
                widget=widget,
                help_text=words,
            )

    @property
    def about(self) -> list[forms.BoundField]:
        """What may be read of it."""
        return [field for field in self if not field.name.startswith("secret.")]

    @property
    def secrets(self) -> list[forms.BoundField]:
        """What nobody reads again."""
        return [field for field in self if field.name.startswith("secret.")]

    @property
    def wrote_secret(self) -> bool:
        """Whether a secret was written, which a form that is shown again does not hold."""
        return any(field.data for field in self.secrets)

    def said(self) -> dict[str, Any]:
        """Give what may be read of it for the rule; of one that exists, what was changed."""
        fields = [field.name for field in self.about]
        names = fields if self._adding else [name for name in fields if name in self.changed_data]
        return {name: self.cleaned_data[name] for name in names}

    def secret(self) -> dict[str, Any] | None:
        """Give what was written as a secret; None where nothing was, so that the old one stays."""
        return credentials.written(
            {
                name.removeprefix("secret."): value
                for name, value in self.cleaned_data.items()
                if name.startswith("secret.")
            }
        )


class _OfTargets(forms.ModelChoiceField):
    """A choice of targets, each with where it stands: that is where the secret will go.

    When the target was moved that a person saw and chose is sent along. It is given beside the
    target, as `save_target` expects it: nobody puts a secret where the target was moved meanwhile.
    """

    def label_from_instance(self, obj: Target) -> str:
        return f"{obj.name}, {obj.site.name} ({where_it_stands(obj)})"

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Target):
            return value
        moved_at = value.moved_at.isoformat() if value.moved_at else "-"
        return f"{value.public_id} {moved_at}"

    def clean(self, value: Any) -> tuple[Target, dict[str, Any]]:
        public_id, _, moved_at = str(value or "").partition(" ")
        target = super().clean(public_id)
        try:
            at = None if moved_at == "-" else datetime.fromisoformat(moved_at)
        except ValueError:
            words = self.error_messages["invalid_choice"]
            raise forms.ValidationError(words, "invalid_choice", {"value": value}) from None
        return target, {"moved_at": at, "credential_id": None}

    def option(self, target: Target) -> tuple[str, str]:
        """Give what is sent of a target, and what is read of it."""
        return self.prepare_value(target), self.label_from_instance(target)


class PlacingForm(forms.Form):
    """On which further target a credential is to stand: one that has an address and no other.

    On offer are the first of those whose name or address has `find` in it, and what was chosen,
    each with where it stands now.
    """

    ON_OFFER = 100

    target = _OfTargets(
        label="Put it on a target",
        empty_label="Choose a target",
        queryset=Target.objects.none(),
        to_field_name="public_id",
        widget=forms.Select(attrs={"class": "form-select"}),
        help_text="Its runs are given the secret from then on, and use it at its address and at"
        " those in its settings.",
    )

    def __init__(
        self, *args: Any, user: User, credential: Credential, find: str = "", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        rows = Target.objects.filter(
            organization=credential.organization, credential=None, archived_at=None
        ).exclude(address="")
        if credential.site_id is not None:
            rows = rows.filter(site=credential.site_id)
        field = self.fields["target"]
        assert isinstance(field, _OfTargets)
        free = target_policy.rows(user, "edit", rows.filter(site__archived_at=None))
        field.queryset = free.select_related("site").order_by("name", "pk")
        self.find = find.replace("\x00", "")
        named = Q(name__icontains=self.find) | Q(address__icontains=self.find)
        found = list(field.queryset.filter(named)[: self.ON_OFFER + 1])
        self.more = len(found) > self.ON_OFFER
        self.any = bool(found)
        self._offered = [field.option(one) for one in found[: self.ON_OFFER]]
        field.choices = [("", field.empty_label), *self._offered]

    def clean_target(self) -> tuple[Target, dict[str, Any]]:
        """Keep what was chosen on offer, whatever is looked for: the rule may refuse it."""
        chosen: tuple[Target, dict[str, Any]] = self.cleaned_data["target"]
        field = self.fields["target"]
        assert isinstance(field, _OfTargets)
        if (option := field.option(chosen[0])) not in self._offered:
            field.choices = [("", field.empty_label), option, *self._offered]
        return chosen
