"""The admin's buttons that send a list as CSV and take one in, after a look at what it would do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget

from ..exchange import LARGEST, Kind, bring_in, read
from ..export import AT_ONCE, csv_line
from ..problems import Refused
from .admin import ScopedAdmin, person


class FileForm(forms.Form):
    """A file to look at, or what was looked at and is to be stored."""

    file = forms.FileField(label="CSV file", required=False, widget=UnfoldAdminFileFieldWidget)
    text = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)

    def data_sent(self) -> bytes | None:
        """Give the file's bytes; None where nothing was sent."""
        if sent := self.cleaned_data.get("file"):
            # One byte more than is taken says that it is too much.
            return bytes(sent.read(LARGEST + 1))
        text: str = self.cleaned_data.get("text", "")
        return text.encode() if text else None


class ExchangingAdmin(ScopedAdmin):
    """Adds the buttons Export CSV and Import CSV to a list."""

    exchanged: ClassVar[Kind]
    # What an exported row names.
    exchange_joins: ClassVar[tuple[str, ...]] = ()
    actions_list: tuple[str, ...] = ("export_csv", "import_csv")

    @action(description="Export CSV", icon="download", permissions=["view"])
    def export_csv(self, request: HttpRequest) -> StreamingHttpResponse:
        """Send what is in use of the list, without secrets, as a file that can be imported."""
        rows = self.get_queryset(request).filter(archived_at=None)
        rows = rows.select_related(*self.exchange_joins).order_by("pk")

        def lines() -> Iterator[str]:
            yield csv_line(self.exchanged.columns)
            for row in rows.iterator(chunk_size=AT_ONCE):
                yield csv_line(self.exchanged.tell(row))

        answer = StreamingHttpResponse(lines(), content_type="text/csv; charset=utf-8")
        name = f"{self.opts.verbose_name_plural}.csv".replace(" ", "-")
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer

    @action(description="Import CSV", icon="upload", permissions=["add"])
    def import_csv(self, request: HttpRequest) -> HttpResponse:
        """Say what each row of a file would do; store them all once that was looked at."""
        if not self.has_add_permission(request):
            raise PermissionDenied("Your role does not allow this.")
        form = FileForm(request.POST or None, request.FILES or None)
        back = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Import {self.opts.verbose_name_plural}",
            "columns": self.exchanged.columns,
            "form": form,
            "back": back,
        }
        data = form.data_sent() if form.is_valid() else None
        if data is None:
            return TemplateResponse(request, "admin/import.html", context)
        keep = "keep" in request.POST
        try:
            rows = read(data, self.exchanged)
            outcomes = bring_in(
                rows,
                self.exchanged,
                by=person(request),
                scope=lambda found: self.administered(request, found),
                keep=keep,
            )
        except Refused as refusal:
            context["refused"] = refusal.detail
            return TemplateResponse(request, "admin/import.html", context, status=422)
        wrong = sum(bool(outcome.errors) for outcome in outcomes)
        if keep and not wrong:
            messages.success(request, f"{len(outcomes)} rows were imported.")
            return redirect(back)
        context |= {"outcomes": outcomes, "wrong": wrong, "text": data.decode("utf-8-sig")}
        status = 422 if wrong else 200
        return TemplateResponse(request, "admin/import.html", context, status=status)
