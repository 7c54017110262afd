"""The admin asks the policies too: which rows and choices there are, what may be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db import DataError, models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.timezone import make_aware
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import RangeDateTimeFilter, RelatedDropdownFilter
from unfold.views import ChangeList

from ..filters import as_stored
from ..json_field import JSONField
from ..models import Role, User
from ..problems import Refused
from .admin_site import admitted
from .grants import grants_of
from .lists import CappedPaginator, ScopedList
from .policy import EVERY, Policy
from .searched import Searched, SearchedMany, is_key


def person(request: HttpRequest) -> User:
    """Give who is logged in: the admin lets no one else in."""
    user = request.user
    assert user.is_authenticated
    return user


def ended(obj: models.Model | None) -> bool:
    """Say whether an object was archived or retired: it is kept as it was."""
    return bool(getattr(obj, "archived_at", None) or getattr(obj, "retired_at", None))


class Among(RelatedDropdownFilter):
    """Narrows a list to one related object, of those that the person may see."""

    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: Any
    ) -> list[tuple[Any, str]]:
        choices = model_admin.choices_for(field, request, every=True)
        return [(row.pk, str(row)) for row in choices]


class Between(RangeDateTimeFilter):
    """Narrows a list to a span of time; a day without a time is that whole day."""

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        for end, lookup, hour in (("from", "gte", time.min), ("to", "lte", time.max)):
            texts = [self.used_parameters.get(f"{self.parameter_name}_{end}_{n}") for n in (0, 1)]
            if not any(texts):
                continue
            try:
                at = _instant(texts[0] or "", texts[1] or "", hour)
            except (forms.ValidationError, OverflowError, ValueError):
                said = " ".join(text for text in texts if text)[:40]
                messages.error(request, f"“{said}” is no time that this list can be narrowed to.")
                return queryset.none()
            queryset = queryset.filter(**{f"{self.parameter_name}__{lookup}": as_stored(at)})
        return queryset


def _instant(day: str, hour: str, otherwise: time) -> datetime:
    """Read a day and a time of day in the portal's zone; at the calendar's ends there is none."""
    at = forms.TimeField().clean(hour) if hour else otherwise
    return make_aware(datetime.combine(forms.DateField().clean(day), at)).astimezone(UTC)


class ScopedForm(forms.ModelForm):
    """A form that also checks rules over the fields that it does not show."""

    user: User  # set by ScopedAdmin

    def _get_validation_exclusions(self) -> set[str]:
        """Check names for uniqueness in organization and site, though those are not shown."""
        places = ("organization", "site", "target")
        known = {name for name in places if getattr(self.instance, f"{name}_id", None)}
        # A name is free again once its holder is retired.
        known |= {"retired_at", "archived_at"}
        return super()._get_validation_exclusions() - known  # type: ignore[misc]

    def add_error(self, field: str | None, error: Any) -> None:
        """Put what the model says of a field that is not shown at the top of the form."""
        found = getattr(error, "error_dict", None)
        if found and any(name not in self.fields for name in found):
            for name, errors in found.items():
                super().add_error(name if name in self.fields else None, errors)
            return
        super().add_error(field, error)

    def take(self, errors: Mapping[str, Sequence[str]]) -> None:
        """Put what a rule refused beside the fields that it is about, else at the top."""
        for name, texts in errors.items():
            self.add_error(name if name in self.fields else None, list(texts))


class ScopedAdmin(ModelAdmin):
    """Asks one policy for everything. Rows are those that it lets the person view, in organizations
    that they administer; what is not named in `may_…` nobody does here, superusers included.
    """

    policy: ClassVar[Policy]
    # Where the policy is about what the row belongs to, such as the run of a transition.
    through: ClassVar[str] = ""
    # The path to the organization's id; empty where the policy alone decides.
    organization: ClassVar[str] = "organization"
    may_change: ClassVar[str | None] = None
    may_delete: ClassVar[str | None] = None
    # To create is asked of the parent: the field that names it, and the action there.
    may_add: ClassVar[tuple[str, str] | None] = None
    # What must be allowed on the choices of a field, where it is more than to view them.
    choices: ClassVar[dict[str, str]] = {}
    # Given at creation and never changed.
    fixed: ClassVar[tuple[str, ...]] = ()
    # Button on the page of a row → the policy's action.
    acts: ClassVar[dict[str, str]] = {}

    form = ScopedForm
    formfield_overrides: ClassVar[dict[Any, Any]] = {models.JSONField: {"form_class": JSONField}}
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_filter_submit = True
    list_per_page = 50
    compressed_fields = True
    warn_unsaved_form = True
    actions: Any = None

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ScopedList

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Take numbers and instants that no column can hold for what they are: no filter."""
        try:
            return super().get_changelist_instance(request)
        except (OverflowError, DataError) as error:
            raise IncorrectLookupParameters(error) from error

    # --- rows ------------------------------------------------------------------------------------
    def in_scope(
        self, request: HttpRequest, action: str, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        """Keep the rows on which the person may do this, in the organizations they administer."""
        if not self.through:
            queryset = self.policy.rows(request.user, action, queryset)
        elif self.policy.branches(request.user, action) != [EVERY]:
            parents = self.policy.model._default_manager.all()
            parents = self.policy.rows(request.user, action, parents)
            queryset = queryset.filter(**{f"{self.through}__in": parents})
        return self.administered(request, queryset)

    def administered(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        """Keep the rows of the organizations that the person administers; all for a superuser."""
        grants = grants_of(request.user)
        if self.organization and not grants.superuser:
            ids = sorted(grants.organizations(Role.ADMINISTRATOR))
            queryset = queryset.filter(**{f"{self.organization}__in": ids})
        return queryset

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return self.in_scope(request, "view", super().get_queryset(request))

    def allowed(self, request: HttpRequest, action: str | None, obj: models.Model | None) -> bool:
        """Say whether the person may do this to the object, or to any at all without one."""
        if action is None:
            return False
        # The same is asked a dozen times while one page is drawn.
        answers = request.__dict__.setdefault("_allowed", {})
        pk = None if obj is None else obj.pk
        key = (self.model, pk, action)
        if key not in answers:
            answers[key] = admitted(request.user) and self._allowed(request, action, pk)
        return bool(answers[key])

    def _allowed(self, request: HttpRequest, action: str, pk: Any) -> bool:
        if pk is None:
            return bool(self.policy.branches(request.user, action))
        rows = self.model._default_manager.filter(pk=pk)
        return self.in_scope(request, action, rows).exists()

    # --- Django's hooks --------------------------------------------------------------------------
    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self.allowed(request, "view", obj)

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return not ended(obj) and self.allowed(request, self.may_change, obj)

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self.allowed(request, self.may_delete, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        if self.may_add is None:
            return False
        field, action = self.may_add
        parent = self.model._meta.get_field(field).related_model
        parent_admin = self.admin_site.get_model_admin(parent)
        return bool(parent_admin.allowed(request, action, None))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Filter by what the list offers alone: a hidden column could be guessed otherwise."""
        name, *rest = lookup.split("__")
        try:
            self.model._meta.get_field(name)
        except FieldDoesNotExist:
            return True  # not a column: a filter's own parameter, or nothing that Django knows
        offered = {f if isinstance(f, str) else f[0] for f in self.list_filter if not callable(f)}
        plain = {"id", "exact", "isnull", "isempty", "in", "gt", "gte", "lt", "lte"}
        return name in offered and set(rest) <= plain

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        return super().get_search_results(request, queryset, search_term.replace("\x00", "")[:200])

    def get_readonly_fields(
        self, request: HttpRequest, obj: models.Model | None = None
    ) -> tuple[str, ...]:
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields + self.fixed if obj else fields

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Tell the form who fills it in; a class per request, so that no two share a person."""
        form = super().get_form(request, *args, **kwargs)
        return type(form.__name__, (form,), {"user": request.user})

    # --- choices ---------------------------------------------------------------------------------
    def choices_for(
        self, field: Any, request: HttpRequest, *, every: bool = False
    ) -> models.QuerySet[Any]:
        """List what a field may name here; with `every`, also what was archived or retired."""
        related = field.remote_field.model
        try:
            admin = self.admin_site.get_model_admin(related)
        except NotRegistered:
            return related._default_manager.none()
        action = self.choices.get(field.name, "view")
        if self.may_add and self.may_add[0] == field.name:
            action = self.may_add[1]
        rows = admin.get_queryset(request)
        if action != "view":
            rows = admin.in_scope(request, action, rows)
        if not every:
            columns = {column.name for column in related._meta.fields}
            rows = rows.filter(**dict.fromkeys(columns & {"archived_at", "retired_at"}))
        return rows

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Have every choice searched for: an organization may have thousands of targets."""
        fields = (*self.model._meta.fields, *self.model._meta.many_to_many)
        admins = self.admin_site._registry
        return tuple(
            field.name
            for field in fields
            if field.remote_field and field.remote_field.model in admins
            # Without search fields there is nothing to search in.
            if admins[field.remote_field.model].search_fields
        )

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        choices = kwargs["queryset"] = self.choices_for(db_field, request)
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", Searched(db_field, self.admin_site))
        if db_field.name == "organization":
            # Most people administer one: it is chosen for them.
            kwargs.setdefault("initial", choices.first() if choices.count() == 1 else None)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = self.choices_for(db_field, request)
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", SearchedMany(db_field, self.admin_site))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    # --- writing ---------------------------------------------------------------------------------
    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write what was changed alone: agents and sweeps write their columns meanwhile."""
        obj.save(update_fields=self.changes(obj, form) if change else None)

    def changes(self, obj: Any, form: Any) -> dict[str, Any]:
        """Give the columns that the form changed, with their new values."""
        columns = {column.name for column in obj._meta.concrete_fields}
        return {name: getattr(obj, name) for name in form.changed_data if name in columns}

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Refused as refusal:
            return self.say(request, refusal)

    def response_action(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> HttpResponseBase | None:
        """Refuse what was ticked and is no row's key: Django would fail on it."""
        if not all(map(is_key, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            messages.error(request, "Tick rows of this list.")
            return redirect(request.get_full_path())
        return super().response_action(request, queryset)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        try:
            return super().delete_view(request, object_id, extra_context)
        except Refused as refusal:
            return self.say(request, refusal)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """List what goes with it: whoever may delete it may delete its parts."""
        shown, counts, _, protected = super().get_deleted_objects(objs, request)
        return shown, counts, set(), protected

    def say(self, request: HttpRequest, refusal: Refused) -> HttpResponse:
        """Go back to the page with the sentence that the rule said."""
        more = [text for texts in (refusal.errors or {}).values() for text in texts]
        messages.error(request, " ".join([refusal.detail, *more]))
        return redirect(request.get_full_path().removesuffix("delete/"))

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        raise Http404(f"There is no such {opts.verbose_name}.")

    # --- buttons ---------------------------------------------------------------------------------
    def permits(self, name: str, request: HttpRequest, obj: Any) -> bool:
        """Say whether the person may press this button here; its rule may still refuse."""
        return self.allowed(request, self.acts[name], obj)

    def offers(self, name: str, obj: Any) -> bool:
        """Say whether the button makes sense in the state that the object is in."""
        return not ended(obj)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        obj = self.get_object(request, object_id)
        if obj is None:
            return []
        return [
            act
            for act in super().get_actions_detail(request, object_id)
            if self.offers(name := act.method.__name__, obj) and self.permits(name, request, obj)
        ]

    def ask(
        self,
        request: HttpRequest,
        object_id: str,
        name: str,
        *,
        title: str,
        question: Callable[[Any], str],
        do: Callable[[Any], str | HttpResponseBase],
        danger: bool = False,
    ) -> HttpResponseBase:
        """Ask before acting, name the object, then call one rule and say what it did or refused.

        `do` gives the sentence to show on the object's page, or a whole answer.
        """
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404(f"There is no such {self.opts.verbose_name}.")
        if not self.permits(name, request, obj):
            raise PermissionDenied(f"Your role does not allow this on “{obj}”.")
        page = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk])
        if request.method != "POST":
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "original": obj,
                "title": title,
                "question": question(obj),
                "danger": danger,
                "back": page,
            }
            return TemplateResponse(request, "admin/ask.html", context)
        try:
            done = do(obj)
        except Refused as refusal:
            messages.error(request, refusal.detail)
            return redirect(page)
        if isinstance(done, HttpResponseBase):
            return done
        messages.success(request, done)
        return redirect(page)


class ScopedInline(TabularInline):
    """Rows under their parent, to be read: whoever sees the parent sees them."""

    extra = 0
    max_num = 0
    can_delete = False
    show_change_link = False
    per_page = 50
    ordering = ("pk",)

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return admitted(request.user)

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False
