"""What `manage.py` uses unless told otherwise: one machine, plain HTTP on loopback."""

from .base import *  # noqa: F403
from .base import STORAGES

# Names with hashes as in production, but nothing compressed: on loopback that only costs the
# first start half a minute.
STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}
