"""An S3 archive for tests: moto's, which takes as long as a test wants."""

from __future__ import annotations

import json
from urllib.request import Request, urlopen

from services import store
from services.core.context import Context
from services.protection.archive.model import Retrieval
from tests.servers import S3Server


def slow_archive(server: S3Server, looks: int | None) -> None:
    """A retrieval is done after so many looks at an object (None: at once)."""
    wanted = (
        {"progression": "immediate"} if looks is None else {"progression": "manual", "times": looks}
    )
    body = json.dumps({"model_name": "s3::keyrestore", "transition": wanted}).encode()
    request = Request(
        f"{server.endpoint}/moto-api/state-manager/set-transition",
        body,
        {"Content-Type": "application/json"},
    )
    urlopen(request).close()


def freeze(server: S3Server, bucket: str, prefix: str, storage: str = "GLACIER") -> list[str]:
    """What a lifecycle rule does one night, and what an expired copy leaves: the objects lie
    in a class that must be asked. Gives their keys."""
    client = server.client()
    listed = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [found["Key"] for page in listed for found in page.get("Contents", ())]
    for key in keys:
        # Copying an archived object onto itself is refused, as at AWS.
        held = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        client.put_object(Bucket=bucket, Key=key, Body=held, StorageClass=storage)
        for _ in range(_looks(server)):
            # Until it was looked at so often, moto takes a request for done at once.
            client.head_object(Bucket=bucket, Key=key)
    return keys


def _looks(server: S3Server) -> int:
    address = f"{server.endpoint}/moto-api/state-manager/get-transition?model_name=s3::keyrestore"
    with urlopen(address) as answer:
        return int(json.load(answer).get("times") or 0)


def polled(ctx: Context, times: int = 12) -> tuple[Retrieval, ...]:
    """Look so often at what is on its way; gives what the last look saw."""
    for _ in range(times):
        found = store.poll(ctx)
    return found
