"""Decides how log lines look, what they carry of the request they belong to, and what they hide."""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from typing import Any

import structlog
from django.core.exceptions import ImproperlyConfigured

# Whoever reads the logs is not to act as an agent or a person, so these never stand in them: our
# tokens, whatever comes as a header's credentials, enrolment codes in an address, fields of a query
# that are named as secrets are, and passwords inside an address. Before each the letters, in lower
# case, without which it cannot be there: every text of every request's line is looked through.
_SECRETS = (
    ("ym_", re.compile(r"\bym_[a-z]+_[0-9a-zA-Z_-]{8,}"), "ym_…"),
    ("bearer", re.compile(r"\b(Bearer)\s+[^\s\"',;]+", re.IGNORECASE), r"\1 …"),
    ("basic", re.compile(r"\b(Basic)\s+[^\s\"',;]+", re.IGNORECASE), r"\1 …"),
    ("/a/", re.compile(r"/a/[^\s/?\"']+"), "/a/…"),
    (
        "/password/reset/",
        re.compile(r"(/password/reset/[0-9a-z]+-)[^\s/?\"']+"),
        r"\1…",
    ),
    (
        "=",
        re.compile(
            r"([?&;](?:[a-z_-]*(?:token|secret|password|signature|credential|code|key))=)"
            r"[^&\s\"']+",
            re.IGNORECASE,
        ),
        r"\1…",
    ),
    # What PostgreSQL adds of a row that a constraint refuses: parameters of runs among it.
    (
        "failing row contains",
        re.compile(r"(Failing row contains \().*?\)\.(?=\\n|\n|['\"]|$)", re.DOTALL),
        r"\1…).",
    ),
    ("://", re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+@"), r"\1…@"),
)
# What begins a line, moves a terminal's cursor or turns the order of what is read.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
# Made per request; a value given by a proxy must look like one, for it goes into every line.
REQUEST_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")


def hidden(text: str) -> str:
    """Give a text without the secrets in it."""
    lower = text.lower()
    for mark, pattern, instead in _SECRETS:
        if mark in lower:
            text = pattern.sub(instead, text)
    return text


def hide_secrets(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Hide secrets in every text of a line, tracebacks included: a step of structlog's."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = hidden(value)
        elif not isinstance(value, int | float | None) and not key.startswith("_"):
            event[key] = hidden(str(value))
    return event


def escape_controls(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Escape control characters in a line for people: a step of structlog's.

    A request's text may be in a message, and is not to look like a line of the portal's own. A
    traceback keeps its lines, each indented, for it ends with the error's words.
    """
    for key, value in event.items():
        if not isinstance(value, str):
            continue
        if key in ("exception", "stack"):
            value = "\n".join(f"    {_CONTROL.sub(_escaped, one)}" for one in value.split("\n"))
        else:
            value = _CONTROL.sub(_escaped, value)
        event[key] = value
    return event


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def escape_in_json(logger: Any, method: str, line: str) -> str:
    """Escape those that JSON leaves as they are, as JSON does: the last step of structlog's."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


def tone_down_refusals(record: logging.LogRecord) -> bool:
    """Make a refusal a warning without a traceback: who was refused what is no fault of the code.

    Django calls a request that is suspicious to it, and answered with 400, an error.
    """
    if record.name.startswith("django.security."):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    if record.name.startswith("django.") and record.levelno < logging.ERROR:
        record.exc_info = None
    return True


def configured(form: str) -> dict[str, Any]:
    """Set structlog up and give Django's LOGGING: `plain` for people, `json` for programs."""
    if form not in ("plain", "json"):
        raise ImproperlyConfigured(f"LOG_FORMAT is plain or json, not {form}.")
    about: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *about,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    if form == "json":
        document = structlog.processors.JSONRenderer(ensure_ascii=False)
        last: list[Any] = [document, escape_in_json]
    else:
        # The pretty tracebacks print local variables, secrets among them.
        pretty = structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )
        last = [escape_controls, pretty]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "lines": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    hide_secrets,
                    *last,
                ],
                "foreign_pre_chain": about,
            }
        },
        "filters": {
            "refusals": {
                "()": "django.utils.log.CallbackFilter",
                "callback": tone_down_refusals,
            }
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "lines",
                "filters": ["refusals"],
            }
        },
        "root": {"handlers": ["console"], "level": "INFO"},
        "loggers": {
            "django_structlog": {"level": "WARNING"},
            # It names each address that is asked, with what is secret in it.
            "httpx": {"level": "WARNING"},
            # A line per request is for programs; a person at a terminal reads what went wrong.
            "yardmaster.access": {"level": "INFO" if form == "json" else "WARNING"},
        },
    }
