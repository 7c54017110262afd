"""How a mail is written and sent: one text for each reader, and a head that nobody can add to."""

from __future__ import annotations

import re
from typing import Any

from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def one_line(text: str, most: int = 200) -> str:
    """Lay text flat for a header or a line of its own: what people call themselves may be long.

    Control characters count as spaces: PostgreSQL keeps no zero byte that a mail server has said.
    """
    flat = " ".join(_CONTROL.sub(" ", text).split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def send(
    template: str,
    *,
    to: str,
    subject: str,
    context: dict[str, Any],
    headers: dict[str, str] | None = None,
) -> None:
    """Send `templates/email/<template>.txt` and `.html` to one address.

    Raises OSError where the server does not take it.
    """
    text = render_to_string(f"email/{template}.txt", context)
    mail = EmailMultiAlternatives(one_line(subject), text, to=[to], headers=headers)
    mail.attach_alternative(render_to_string(f"email/{template}.html", context), "text/html")
    mail.send()
