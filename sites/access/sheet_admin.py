"""The admin's buttons that send a list as CSV and take one in, after a look at what it would do."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget

from ..export import AT_ONCE, MOST, Export, Turn, csv_line
from ..importing import LARGEST, Sheet, bring_in, read
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


class SheetAdmin(ScopedAdmin):
    """Adds the buttons Export CSV and Import CSV to a list."""

    sheet: ClassVar[Sheet]
    # What an exported row names.
    sheet_joins: ClassVar[tuple[str, ...]] = ()
    sheet_prefetches: ClassVar[tuple[str, ...]] = ()
    actions_list: tuple[str, ...] = ("export_csv", "import_csv")

    @action(description="Export CSV", icon="download", permissions=["view"])
    def export_csv(self, request: HttpRequest) -> HttpResponseBase:
        """Send what is in use of the list, without secrets, as a file that can be imported."""
        rows = self.get_queryset(request).filter(archived_at=None).order_by("pk")
        rows = rows.select_related(*self.sheet_joins).prefetch_related(*self.sheet_prefetches)
        turn = Turn(person(request))
        if not turn.take():
            messages.error(request, "Another list is being sent to you: wait until it has ended.")
            return redirect(self._list())
        lines = Export(turn, self._lines(turn, rows))
        answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        name = f"{self.opts.verbose_name_plural}.csv".replace(" ", "-")
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer

    def _lines(self, turn: Turn, rows: QuerySet[Any]) -> Generator[str, None, None]:
        yield csv_line(self.sheet.columns)
        for number, row in enumerate(rows[: MOST + 1].iterator(chunk_size=AT_ONCE)):
            if number == MOST:
                yield csv_line([f"Here are the first {MOST:,} rows; the API gives the rest."])
                return
            if number % AT_ONCE == 0:
                turn.renew()
            yield csv_line(self.sheet.tell(row))

    def _list(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    @action(description="Import CSV", icon="upload", permissions=["add"])
    def import_csv(self, request: HttpRequest) -> HttpResponse:
        """Say what each row of a file would do; store them all once that was looked at."""
        if not self.has_add_permission(request):
            raise PermissionDenied("Your role does not allow this.")
        form = FileForm(request.POST or None, request.FILES or None)
        back = self._list()
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Import {self.opts.verbose_name_plural}",
            "columns": self.sheet.columns,
            "form": form,
            "back": back,
        }
        data = form.data_sent() if form.is_valid() else None
        if data is None:
            return TemplateResponse(request, "admin/import.html", context)
        keep = "keep" in request.POST
        try:
            rows = read(data, self.sheet)
            outcomes = bring_in(
                rows,
                self.sheet,
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
