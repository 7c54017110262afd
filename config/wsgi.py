"""The portal as a WSGI application, for the production `web` process."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.production")

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from config.memory import give_freed_memory_back, keep_what_is_loaded

give_freed_memory_back()
application = get_wsgi_application()

from config import serving  # noqa: E402 - needs Django's models

# Every view's module, which Django would load with the first request.
get_resolver().url_patterns  # noqa: B018
keep_what_is_loaded()
serving.begin()
