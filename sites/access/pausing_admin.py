"""The admin's buttons that pause and resume, the same for jobs, sites and agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from unfold.decorators import action
from unfold.widgets import INPUT_CLASSES, UnfoldAdminSelectWidget

from .. import pauses
from ..forms.pauses import LASTING, PauseForm
from ..models import Pausable
from .admin import ScopedAdmin, person
from .bulk import ask_each


class _PauseForm(PauseForm):
    """The portal's form as the admin draws its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["lasts"].widget = UnfoldAdminSelectWidget(choices=LASTING)
        for name in ("until", "reason"):
            self.fields[name].widget.attrs["class"] = " ".join(INPUT_CLASSES)


class PausingAdmin(ScopedAdmin):
    """Names "pause" and "resume" among its `acts`, and the rules that do them."""

    begin: ClassVar[Callable[..., None]]
    end: ClassVar[Callable[..., None]]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Begin with the pause that lasts."""
        return self.with_pause(super().get_fieldsets(request, obj), obj)

    def with_pause(self, sets: Sequence[Any], obj: Any) -> list[Any]:
        """Put the pause that lasts before what else is shown of an object."""
        shown = [("Paused", {"fields": pauses.COLUMNS})] if obj and obj.is_paused else []
        return [*shown, *sets]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), *pauses.COLUMNS)

    def offers(self, name: str, obj: Any) -> bool:
        if name == "resume" and not obj.is_paused:
            return False
        return super().offers(name, obj)

    def _pause(self, request: HttpRequest, paused: Pausable) -> str:
        zone = pauses.zone_of(paused)
        form = PauseForm(request.POST, zone=zone)
        if not form.is_valid():
            errors = {name: [str(text) for text in texts] for name, texts in form.errors.items()}
            raise pauses.refusal(paused, errors)
        given = form.cleaned_data
        type(self).begin(paused, until=given["until"], reason=given["reason"], by=person(request))
        return f"{paused} is {pauses.words(paused, zone=zone)}"

    @action(description="Pause", icon="pause")
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Let nothing of it be taken for a while."""
        answer = self.ask(
            request,
            object_id,
            "pause",
            title=f"Pause {self.opts.verbose_name}",
            question=lambda paused: (
                f"Pause {paused}? What runs already goes on; the pause ends by itself."
            ),
            do=lambda paused: self._pause(request, paused),
        )
        return _with_fields(answer, "admin/pause.html")

    @action(description="Resume", icon="play_arrow")
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """End the pause before its time."""

        def do(paused: Pausable) -> str:
            type(self).end(paused)
            return f"{paused} is no longer paused."

        return self.ask(
            request,
            object_id,
            "resume",
            title=f"Resume {self.opts.verbose_name}",
            question=lambda paused: f"End the pause of {paused} now? Runs that wait are taken.",
            do=do,
        )

    @action(description="Pause")
    def pause_each(self, request: HttpRequest, queryset: Any) -> Any:
        """Pause several, for the same time and reason."""
        answer = ask_each(
            self,
            request,
            queryset,
            "pause",
            title=f"Pause {self.opts.verbose_name_plural}",
            question="Pause these? What runs already goes on; the pauses end by themselves.",
            do=lambda paused: self._pause(request, paused),
        )
        return _with_fields(answer, "admin/pause_each.html")


def _with_fields(answer: Any, template: str) -> Any:
    """Ask for time and reason too, where it is the question and not yet the answer."""
    if isinstance(answer, TemplateResponse) and answer.context_data is not None:
        answer.template_name = template
        one = answer.context_data.get("original")
        answer.context_data["form"] = _PauseForm(zone=pauses.zone_of(one) if one else "")
    return answer
