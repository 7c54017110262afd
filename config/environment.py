"""Decides what is said of a variable of the environment that cannot be meant so.

Its name, at least; what stands in it is not repeated, for it may be a secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

DATABASES = ("postgres", "postgresql", "sqlite")
_TAKES = {bool: "yes or no", int: "a whole number", float: "a number"}


class Environment(environ.Env):
    """The variables, each read as what it has to be."""

    def get_value(self, var: Any, cast: Any = None, *args: Any, **more: Any) -> Any:
        try:
            return super().get_value(var, cast, *args, **more)
        except ValueError:
            takes = _TAKES.get(cast, "something else than what is there")
            raise ImproperlyConfigured(f"{var} takes {takes}.") from None

    def database(self, var: str, *, default: str) -> dict[str, Any]:
        """Read the address of one of the two databases that the portal runs on."""
        url = self.str(var, default="") or default
        if urlsplit(url).scheme not in DATABASES:
            raise ImproperlyConfigured(
                f"{var} is not of the form postgres://user:password@host:5432/name."
            )
        found: dict[str, Any] = self.db_url_config(url)
        return found


def made_folder(folder: Path) -> Path:
    """Make the data folder, which others may not enter, where it is not there yet."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"YARDMASTER_DATA: the folder {folder} cannot be made: {error.strerror}."
        ) from None
    return folder
