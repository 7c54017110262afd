"""Which ASGI applications there are.

`application` is everything on one port, for small installations: `/live/…` here, all else through
the WSGI application in a pool of threads, since Django's synchronous middleware ran 8.5 times
slower under ASGI. `live` is the waiting connections alone, the production `live` process.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")

import django

django.setup()

from typing import TYPE_CHECKING  # noqa: E402

from config.live.doors import Live  # noqa: E402 - needs Django's models

if TYPE_CHECKING:
    from config.live.doors import ASGIApp


def portal() -> "ASGIApp":
    """Make the portal itself, which the `live` process never loads."""
    from a2wsgi import WSGIMiddleware

    from config.wsgi import application

    return WSGIMiddleware(application, workers=16)  # type: ignore[arg-type,return-value]


live = Live()
application = Live(elsewhere=portal)
