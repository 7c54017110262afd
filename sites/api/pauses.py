"""Pausing over REST, the same for a job, a site and an agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from ..access.api import ScopedViewSet
from ..models import Pausable
from ..models.pause import LONGEST_REASON
from .authentication import person
from .fields import Person, Strict, Text


class Pause(serializers.Serializer[Pausable]):
    """A pause that lasts."""

    until = serializers.DateTimeField(source="paused_until")
    reason = serializers.CharField(source="pause_reason")
    by = Person(source="paused_by", allow_null=True)


@extend_schema_field(Pause(allow_null=True))
class PauseField(serializers.Field[Any, Any, Any, Any]):
    """The pause of what is shown, null while none lasts."""

    def __init__(self) -> None:
        super().__init__(
            source="*",
            read_only=True,
            help_text="Until when it is paused, and why; null while no pause lasts.",
        )

    def to_representation(self, paused: Pausable) -> Any:
        return Pause(paused).data if paused.is_paused else None


class PauseIn(Strict):
    until = serializers.DateTimeField(
        help_text="At most 366 days from now. UTC where it names no offset."
    )
    reason = Text(max_length=LONGEST_REASON, help_text="One line, for those who wonder.")


class Pausing(ScopedViewSet):
    """The two acts. Asked of the object as `grants` says for "pause" and "resume"."""

    begin: ClassVar[Callable[..., None]]
    end: ClassVar[Callable[..., None]]

    @extend_schema(request=PauseIn)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, id: Any) -> Response:
        paused = self.get_object()
        type(self).begin(paused, **self.read(PauseIn), by=person(request))
        return Response(self.shown(self.rows().get(pk=paused.pk)))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, id: Any) -> Response:
        paused = self.get_object()
        type(self).end(paused)
        return Response(self.shown(self.rows().get(pk=paused.pk)))
