"""Objects in S3's archive classes: whether they can be read now, and asking for them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from services.core.errors import Invalid, Misconfigured, Transient
from services.protection.stores.base import ARCHIVE_CLASSES, Access, ArchiveState, Tier
from services.protection.stores.s3_client import S3Place, code_of, s3_errors

_UNTIL = re.compile(r'expiry-date="([^"]+)"')
_ASKED_ALREADY = {"RestoreAlreadyInProgress", "ObjectAlreadyInActiveTierError"}
_NO_TIER = {"GlacierExpeditedRetrievalNotAvailable"}


def state_of(head: dict[str, Any]) -> ArchiveState:
    """What a HEAD answer says about reading the object.

    Args:
        head: of `head_object`; its `Restore` header is absent, says that a retrieval is going
            on, or until when the copy stays. After that the header goes away again.
    """
    storage = str(head.get("StorageClass") or "STANDARD")
    # An object that Intelligent-Tiering put into its archive keeps that class.
    if storage not in ARCHIVE_CLASSES and not head.get("ArchiveStatus"):
        return ArchiveState(Access.READABLE, storage)
    told = str(head.get("Restore") or "")
    if 'ongoing-request="true"' in told:
        return ArchiveState(Access.RETRIEVING, storage)
    until = _time(found[1]) if (found := _UNTIL.search(told)) else None
    if until is None or until <= _server_time(head):
        return ArchiveState(Access.ARCHIVED, storage)
    return ArchiveState(Access.READABLE, storage, until)


def ask_for(
    place: S3Place,
    client: Any,
    name: dict[str, str],
    key: str,
    tier: Tier,
    days: int,
    *,
    faster: bool = False,
) -> None:
    """Ask for a readable copy of one object; see `Store.request_retrieval`."""
    from botocore.exceptions import ClientError

    with s3_errors(place, key):
        state = state_of(client.head_object(**name))
        if state.access is Access.RETRIEVING and not faster:
            return
        if state.access is Access.READABLE and state.ready_until is None:
            return
        if tier is Tier.EXPEDITED and state.storage == "DEEP_ARCHIVE":
            raise Invalid(
                f"{state.storage} has no {tier.value} retrieval. Nothing was asked for.",
                "Choose standard (within 12 hours) or bulk (within 48 hours).",
            )
        wanted = {"Days": days, "GlacierJobParameters": {"Tier": tier.value.capitalize()}}
        try:
            client.restore_object(**name, RestoreRequest=wanted)
        except ClientError as error:
            code = code_of(error)
            if code in _ASKED_ALREADY:
                return
            if code in _NO_TIER:
                raise Transient(
                    f"The archive of {place.url} has no capacity for expedited retrievals now. "
                    "Nothing was asked for.",
                    "Choose standard, or try again in a while.",
                ) from error
            if code in ("NotImplemented", "MethodNotAllowed"):
                raise Misconfigured(
                    f"The server of {place.url} can't bring objects back from an archive.",
                    "Whoever runs it knows how; objects that lie there can't be read until then.",
                ) from error
            raise


def _time(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _server_time(head: dict[str, Any]) -> datetime:
    """By the store's clock, which decides; this machine's may be wrong."""
    told = head.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    return _time(str(told)) or datetime.now(UTC)
