"""How a secret of several lines is typed into a form: what was typed is never shown again."""

from __future__ import annotations

from typing import Any


class Unshown:
    """Lets a text area come back empty, also where its form is shown again."""

    def format_value(self, value: Any) -> str:
        """Show nothing, whatever was typed."""
        return ""
