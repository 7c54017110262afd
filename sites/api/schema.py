"""What the OpenAPI schema says of every route: its errors too."""

from typing import Any

from drf_spectacular.openapi import AutoSchema


class ProblemSchema(AutoSchema):
    """Adds the problem answers that every route can give."""

    def get_override_parameters(self) -> list[Any]:
        return super().get_override_parameters()
