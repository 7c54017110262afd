"""What `manage.py` uses unless told otherwise: one machine, plain HTTP on loopback."""

from .base import *  # noqa: F403
