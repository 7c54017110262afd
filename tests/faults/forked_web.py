"""A portal that is up again at once after it was killed: its zygote has loaded all of it."""

from __future__ import annotations

from a2wsgi import WSGIMiddleware
from uvicorn import Config, Server

from config.wsgi import application


def serve(port: str) -> None:
    """Listen, open the database, and serve until the end."""
    app = WSGIMiddleware(application, workers=16)  # type: ignore[arg-type]
    Server(Config(app, "127.0.0.1", int(port), log_level="warning", access_log=False)).run()
