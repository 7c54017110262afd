"""Decides how files lie in an S3 bucket, and what its failures are to the rest of the portal.

Whatever is wrong there (no answer, a slow one, an error, keys that do not fit) is
`StorageUnavailable`, which every door answers with 503: what was to be done has not been done, and
can be done again. Only an object that is not there is `FileNotFoundError`, as on a local disk.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files import File
from django.utils.deconstruct import deconstructible
from django.utils.http import content_disposition_header
from storages.backends.s3 import S3Storage
from urllib3.exceptions import HTTPError

from .storage import BYTES, StorageUnavailable, Stored

log = logging.getLogger(__name__)

# A part of an upload lies on disk until it is sent; so many bytes at most are read at once.
_PART = 16 * 1024 * 1024
# Long enough to follow the address, too short to be passed on.
_ADDRESS_FOR_S = 60


@deconstructible(path="sites.object_storage.ObjectStorage")
class ObjectStorage(S3Storage):
    """Files as objects of a bucket that nobody else writes to."""

    page_size = 1000

    def __init__(self, *, presigned: bool = True, timeout_s: float = 15, **options: Any) -> None:
        self.presigned = presigned
        super().__init__(
            client_config=Config(
                signature_version="s3v4",
                connect_timeout=min(timeout_s, 5),
                read_timeout=timeout_s,
                # Whoever sent the request tries again as well.
                retries={"total_max_attempts": 2, "mode": "standard"},
                # What only Amazon's own service knows; TLS or the signature guard the bytes.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
            # No threads of its own: uploads run in as many threads as there are requests.
            transfer_config=TransferConfig(
                multipart_threshold=_PART, multipart_chunksize=_PART, use_threads=False
            ),
            # Whoever finds an object's own address downloads it, too.
            object_parameters={"ContentType": BYTES, "ContentDisposition": "attachment"},
            **options,
        )

    def _save(self, name: str, content: File) -> str:
        with _answered(name):
            if not hasattr(content, "temporary_file_path"):
                return str(super()._save(name, content))
            self.bucket.Object(self._normalize_name(name)).upload_file(
                content.temporary_file_path(),
                ExtraArgs=self._get_write_parameters(name),
                Config=self.transfer_config,
            )
            return name

    def _open(self, name: str, mode: str = "rb") -> File:
        if mode != "rb":
            raise ValueError("Stored files are read as bytes, and written by `save`.")
        with _answered(name):
            return _Object(name, self.bucket.Object(self._normalize_name(name)).get())

    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is no error."""
        with _answered(name):
            super().delete(name)

    def exists(self, name: str) -> bool:
        """Say whether an object is there."""
        with _answered(name):
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        """Give an object's length in bytes."""
        with _answered(name):
            return int(super().size(name))

    def get_modified_time(self, name: str) -> datetime:
        """Say when an object was put there, by the clock of the storage."""
        with _answered(name):
            put: datetime = super().get_modified_time(name)
            return put

    def listdir(self, name: str) -> tuple[list[str], list[str]]:
        """Give the names of folders and of files in a folder."""
        with _answered(name):
            folders, files = super().listdir(name)
            return folders, files

    def stored(self, folder: str) -> Iterator[Stored]:
        """List all below a folder with size and age: a thousand in each answer of the storage."""
        prefix = self._normalize_name(folder).rstrip("/") + "/"
        above = len(prefix) - len(folder.rstrip("/")) - 1
        pages = iter(
            self.connection.meta.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket_name,
                Prefix=prefix,
                PaginationConfig={"PageSize": self.page_size},
            )
        )
        while True:
            with _answered(folder):
                page = next(pages, None)
            if page is None:
                return
            for one in page.get("Contents", ()):
                yield Stored(one["Key"][above:], one["Size"], one["LastModified"])

    def sweep_unfinished(self, *, before: datetime) -> int:
        """Drop the parts of uploads that a killed process left; no listing shows them."""
        client, swept = self.connection.meta.client, 0
        with _answered("unfinished uploads"):
            pages = client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket_name, Prefix=f"{self.location}/" if self.location else ""
            )
            for page in pages:
                for one in page.get("Uploads", ()):
                    if one["Initiated"] < before:
                        client.abort_multipart_upload(
                            Bucket=self.bucket_name, Key=one["Key"], UploadId=one["UploadId"]
                        )
                        swept += 1
        return swept

    def download_address(self, name: str, *, filename: str) -> str | None:
        """Sign an address that gives the object as a download for a minute, to whoever has it."""
        if not self.presigned:
            return None
        with _answered(name):
            return str(
                self.url(
                    name,
                    parameters={
                        "ResponseContentDisposition": content_disposition_header(True, filename)
                        or "attachment",
                        "ResponseContentType": BYTES,
                    },
                    expire=_ADDRESS_FOR_S,
                )
            )


class _Object(File):
    """An object on its way from the storage, read as it comes and only once."""

    def __init__(self, name: str, answer: dict[str, Any]) -> None:
        super().__init__(answer["Body"], name=name)
        self.body = answer["Body"]
        self.size = answer["ContentLength"]

    def read(self, size: int = -1, /) -> bytes:
        with _answered(self.name or ""):
            data: bytes = self.body.read(None if size < 0 else size)
            return data


@contextmanager
def _answered(name: str) -> Iterator[None]:
    """Turn what boto3 raises into the two things that the portal knows."""
    try:
        yield
    except ClientError as error:
        answer = error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status == 404 and answer.get("Error", {}).get("Code") != "NoSuchBucket":
            raise FileNotFoundError(f"The storage has no {name}.") from error
        log.warning("The file storage refused %s: %s", name, error)
        raise StorageUnavailable from error
    except (BotoCoreError, Boto3Error, HTTPError) as error:
        log.warning("The file storage did not answer for %s: %s", name, error)
        raise StorageUnavailable from error
