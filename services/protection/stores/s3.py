"""A store in an S3 bucket, Amazon's or any other server that speaks S3."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, BinaryIO

from services.core.errors import Broken, DeskError
from services.core.settings import Settings
from services.protection.stores.base import (
    OUR_FOLDERS,
    PIECE,
    STORE_SETTING,
    ArchiveState,
    Readable,
    StoredObject,
    Tier,
    check_key,
    prove,
)
from services.protection.stores.s3_archive import ask_for, state_of
from services.protection.stores.s3_body import S3Body
from services.protection.stores.s3_client import (
    Patience,
    S3Place,
    code_of,
    make_client,
    place_of,
    s3_errors,
)
from services.protection.stores.s3_encryption import asked_for, compared, require_done

log = logging.getLogger("desk.store")

_PART = 8 << 20
_PARTS_OF_A_SIZE = 2000
"""Parts double in size after so many: the 10,000 that S3 allows hold 484 GiB."""
_AT_ONCE = 4
_STALE = timedelta(days=1)
_CHECKSUMS = ("ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA256")


class S3Store:
    """Objects below a prefix of one bucket. Connects at first use; safe to use from threads.

    Args:
        place: bucket, prefix, endpoint, region, patience.
        settings: where the credentials come from; boto3's own chain where they are not set.
    """

    def __init__(self, place: S3Place, settings: Settings) -> None:
        self._place = place
        self._settings = settings
        self._encrypted = asked_for(settings, place)

    @classmethod
    def from_settings(
        cls, settings: Settings, patience: Patience | None = None, named: str = STORE_SETTING
    ) -> S3Store:
        """The store that `s3://BUCKET/PREFIX` names.

        Args:
            named: the setting that holds the address, for errors.

        Raises:
            Misconfigured: it names no bucket.
        """
        return cls(place_of(settings, patience, named), settings)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._place.url

    def check(self) -> None:
        """See `Store.check`."""
        prove(self)
        self._sweep()

    def put(self, key: str, source: Readable) -> StoredObject:
        """See `Store.put`. A small object is one request, a larger one a multipart upload."""
        name = self._name(key)
        first = _fill(source, _part_size(1))
        if len(first) < _part_size(1):
            with self._errors():
                self._client.put_object(
                    **name, Body=first, **self._encrypted, **self._checksum(first)
                )
            size = len(first)
        else:
            size = self._put_parts(name, first, source)
        head = self._head(key)
        stored = None if head is None else _object(key, head["ContentLength"], head)
        if stored is None or stored.size != size:
            with suppress(DeskError):
                self.delete(key)
            raise Broken(
                f"{self.url} took {size} bytes for {key} but holds "
                f"{stored.size if stored else 'nothing'}; the object was removed.",
                "Try again. If it happens again, the server can't be relied on for backups.",
            )
        try:
            require_done(self._encrypted, head or {}, key, self.url)
        except Broken:
            with suppress(DeskError):
                self.delete(key)
            raise
        return stored

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """See `Store.open`; a connection that breaks is taken up again where it broke."""
        body = S3Body(self._place, self._client, self._name(key), key)
        with io.BufferedReader(body, PIECE) as stream:
            yield stream

    def stat(self, key: str) -> StoredObject | None:
        """See `Store.stat`."""
        found = self._head(key)
        return None if found is None else _object(key, found["ContentLength"], found)

    def refuses_to_replace(self, key: str) -> bool:
        """Whether the server honours conditional writes: tried with an object of our own.

        Raises:
            what `put` raises.
        """
        from botocore.exceptions import ClientError

        name = self._name(key)
        self.put(key, io.BytesIO(b"first"))
        try:
            with self._errors():
                try:
                    self._client.put_object(
                        **name, Body=b"second", IfNoneMatch="*", **self._encrypted
                    )
                except ClientError as error:
                    if code_of(error) in ("PreconditionFailed", "412"):
                        return True
                    if code_of(error) not in ("NotImplemented", "501"):
                        raise
            return False
        finally:
            self.delete(key)

    def kms_key_fits(self, key: str) -> tuple[str, bool | None]:
        """The KMS key that the server uses, tried with an object of our own, and whether it is
        the one that was named; None where that can't be told.

        Raises:
            what `put` raises.
        """
        self.put(key, io.BytesIO(b"which key?"))
        try:
            used = str((self._head(key) or {}).get("SSEKMSKeyId", ""))
        finally:
            self.delete(key)
        return used, compared(self._settings, self._place, used)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See `Store.list`."""
        ours = self._place.prefix
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._place.bucket, Prefix=ours + prefix
            )
        )
        while True:
            with self._errors():
                page = next(pages, None)
            if page is None:
                return
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(ours)
                if key and not key.endswith("/"):  # consoles make such "folders"
                    yield _object(key, found["Size"], found)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        with suppress(KeyError), self._errors(key):
            self._client.delete_object(**self._name(key))

    def archive_state(self, key: str) -> ArchiveState:
        """See `Store.archive_state`."""
        with self._errors(key):
            return state_of(self._client.head_object(**self._name(key)))

    def request_retrieval(self, key: str, tier: Tier, days: int, *, faster: bool = False) -> None:
        """See `Store.request_retrieval`."""
        ask_for(self._place, self._client, self._name(key), key, tier, days, faster=faster)

    @cached_property
    def _client(self) -> Any:
        return make_client(self._place, self._settings)

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            with self._errors(key):
                found: dict[str, Any] = self._client.head_object(**self._name(key))
        except KeyError:
            # A missing bucket gives the same answer, and must never look like a missing object.
            with self._errors():
                self._client.head_bucket(Bucket=self._place.bucket)
            return None
        return found

    def _name(self, key: str) -> dict[str, str]:
        return {"Bucket": self._place.bucket, "Key": self._place.prefix + check_key(key)}

    @contextmanager
    def _errors(self, key: str | None = None) -> Iterator[None]:
        with s3_errors(self._place, key):
            yield

    def _put_parts(self, name: dict[str, str], first: bytes, source: Readable) -> int:
        """Send parts while the next ones are made; nothing is stored before the last one is."""
        with self._errors():
            upload = self._client.create_multipart_upload(**name, **self._encrypted)["UploadId"]
        pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="s3-part")
        waiting: deque[Future[dict[str, Any]]] = deque()
        parts: list[dict[str, Any]] = []
        size, body = 0, first
        try:
            while body:
                # At most `_AT_ONCE` parts and the one being read are in memory.
                if len(waiting) == _AT_ONCE:
                    parts.append(waiting.popleft().result())
                number = len(parts) + len(waiting) + 1
                waiting.append(pool.submit(self._put_part, name, upload, number, body))
                size += len(body)
                body = _fill(source, _part_size(number + 1))
            parts.extend(sent.result() for sent in waiting)
            with self._errors():
                self._client.complete_multipart_upload(
                    **name, UploadId=upload, MultipartUpload={"Parts": parts}
                )
        except BaseException:
            # Parts that arrive after the abort would stay, unseen and paid for.
            pool.shutdown(wait=True, cancel_futures=True)
            self._abort(name, upload)
            raise
        pool.shutdown()
        return size

    def _put_part(
        self, name: dict[str, str], upload: str, number: int, body: bytes
    ) -> dict[str, Any]:
        with self._errors():
            sent = self._client.upload_part(
                **name, UploadId=upload, PartNumber=number, Body=body, **self._checksum(body)
            )
        checksums = {field: sent[field] for field in _CHECKSUMS if field in sent}
        return {"PartNumber": number, "ETag": sent["ETag"], **checksums}

    def _checksum(self, body: bytes) -> dict[str, str]:
        """What a server checks an upload by: one with Object Lock takes none without it.

        Amazon gets a newer one from boto3; what every other server knows is this.
        """
        if self._place.is_aws:
            return {}
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        return {"ContentMD5": base64.b64encode(digest).decode()}

    def _abort(self, name: dict[str, str], upload: str) -> None:
        try:
            with self._errors():
                self._client.abort_multipart_upload(**name, UploadId=upload)
        except DeskError as error:
            # What made the upload fail matters more; `check` clears this away in a day.
            log.warning("an unfinished upload stays in %s for now: %s", self.url, error)

    def _sweep(self) -> None:
        """Abort uploads that a killed process left, once so old that none can be running."""
        ours = tuple(self._place.prefix + folder for folder in OUR_FOLDERS)
        before = datetime.now(UTC) - _STALE
        try:
            with self._errors():
                pages = self._client.get_paginator("list_multipart_uploads").paginate(
                    Bucket=self._place.bucket, Prefix=self._place.prefix
                )
                for found in (each for page in pages for each in page.get("Uploads", ())):
                    if found["Key"].startswith(ours) and found["Initiated"] < before:
                        self._abort(
                            {"Bucket": self._place.bucket, "Key": found["Key"]}, found["UploadId"]
                        )
        except DeskError as error:
            # Not every server lists them and not every policy allows it; backups don't need it.
            log.info("unfinished uploads in %s can't be listed: %s", self.url, error)


def _object(key: str, size: int, found: dict[str, Any]) -> StoredObject:
    # HEAD leaves the class out where it is the usual one; some servers always do.
    storage = found.get("StorageClass") or "STANDARD"
    etag = str(found.get("ETag") or "").strip('"')
    return StoredObject(key, size, found["LastModified"].astimezone(UTC), storage, etag)


def _part_size(number: int) -> int:
    return _PART << ((number - 1) // _PARTS_OF_A_SIZE)


def _fill(source: Readable, size: int) -> bytes:
    """`size` bytes, fewer only at the end: a source may give less than it was asked for."""
    pieces: list[bytes] = []
    missing = size
    while missing and (piece := source.read(min(missing, PIECE))):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
