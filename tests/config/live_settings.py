"""What a live process of a test uses: the test's database, and intervals that it chose."""

import json
import os

from config.settings.test import *  # noqa: F403

LIVE = json.loads(os.environ.get("LIVE", "{}"))
# The files of the pages, straight from the project.
WHITENOISE_USE_FINDERS = True
