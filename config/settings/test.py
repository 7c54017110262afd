"""What the tests use: the real settings in a folder that is thrown away."""

import atexit
import os
import shutil
import tempfile


def remove(folder: str, maker: int) -> None:
    """Remove the run's folder at the end of the process that made it, not of a fork of that."""
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)


# Each xdist worker and each child process that a test starts shares the folder of its run.
if "YARDMASTER_DATA" not in os.environ:
    os.environ["YARDMASTER_DATA"] = tempfile.mkdtemp(prefix="yardmaster-test-")
    atexit.register(remove, os.environ["YARDMASTER_DATA"], os.getpid())

from .base import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "sites.storage.DurableFileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
if DATABASES["default"]["ENGINE"].endswith("sqlite"):  # noqa: F405
    # A file, so that the servers and agents that tests start see the same rows.
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}  # noqa: F405

# Each process of a run counts alone, with the servers that its tests start.
METRICS_DIR = METRICS_DIR / os.environ.get("PYTEST_XDIST_WORKER", "alone")  # noqa: F405

# A portal that one test had, and the next has not, would look to its sweeps like one that is away.
SERVING_NOTED_EVERY_S = 0.0

MESSAGE_MODEL_URL = OIDC_URL = MONITOR_URL = (
    ""  # whatever the machine's environment says: tests ask their own server
)

STATIC_ROOT.mkdir(exist_ok=True)  # noqa: F405  # whitenoise warns of a folder that is not there
