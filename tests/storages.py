"""Decides how tests get an S3 of their own: moto's server, which can fail and stall."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "yard-files"
KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "se/cret"}


@dataclass
class Bucket:
    """A bucket behind a real port, and how its storage is at the moment."""

    url: str = ""  # for STORAGE_URL
    client: Any = None
    asked: list[str] = field(default_factory=list)  # methods and addresses
    # Which requests fail or are not answered; every other one is served.
    fails: Callable[[str], bool] = lambda asked: False
    stalls: Callable[[str], bool] = lambda asked: False
    _over: threading.Event = field(default_factory=threading.Event)

    def names(self) -> list[str]:
        """Name all objects."""
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())
        return [one["Key"] for one in found]

    def empty(self) -> None:
        """Remove all objects."""
        for name in self.names():
            self.client.delete_object(Bucket=BUCKET, Key=name)

    def well(self) -> None:
        """Let the storage answer again."""
        self.fails = self.stalls = lambda asked: False


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any, **__: Any) -> None:
        """Say nothing of each request: a failing test shows `asked`."""


@contextmanager
def s3() -> Iterator[Bucket]:
    """Serve an S3 with one empty bucket for as long as the block lasts."""
    bucket = Bucket()
    served = DomainDispatcherApplication(create_backend_app)

    def door(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        bucket.asked.append(asked)
        stalled = bucket.stalls(asked)
        if stalled:
            bucket._over.wait(10)
        if stalled or bucket.fails(asked):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("500 Internal Server Error", [("Content-Length", "0")])
            return [b""]
        return served(environ, start)

    server = make_server("127.0.0.1", 0, door, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        place = f"127.0.0.1:{server.server_port}"
        bucket.client = boto3.client(
            "s3", endpoint_url=f"http://{place}", region_name="eu-central-1", **KEYS
        )
        bucket.client.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        bucket.url = (
            f"s3://key:se%2Fcret@{place}/{BUCKET}/portal?region=eu-central-1&tls=no&timeout=2"
        )
        yield bucket
    finally:
        bucket._over.set()
        # The process keeps what lies there for the next server.
        bucket.well()
        bucket.empty()
        bucket.client.delete_bucket(Bucket=BUCKET)
        bucket.client.close()
        server.shutdown()
        thread.join()
        server.server_close()
