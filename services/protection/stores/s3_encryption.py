"""Encryption at rest by the S3 server: what is asked for, and whether it was done."""

from __future__ import annotations

import logging
from typing import Any

from services.core.errors import Broken, DeskError
from services.core.settings import Settings
from services.protection.stores.s3_client import S3Place, make_client

log = logging.getLogger("desk.store")

_AES, _KMS = "AES256", "aws:kms"


def asked_for(settings: Settings, place: S3Place) -> dict[str, str]:
    """What goes with every upload.

    Amazon encrypts at rest by itself, but buckets whose policy demands the header refuse an
    upload without it; other servers may refuse an upload with it. So says `auto`.
    """
    wanted = settings.backup_s3_encryption
    if wanted == "auto":
        wanted = "sse-s3" if place.is_aws else "none"
    if wanted == "sse-s3":
        return {"ServerSideEncryption": _AES}
    if wanted == "sse-kms":
        key = settings.backup_s3_kms_key
        return {"ServerSideEncryption": _KMS} | ({"SSEKMSKeyId": key} if key else {})
    return {}


def require_done(asked: dict[str, str], head: dict[str, Any], key: str, url: str) -> None:
    """Hold what the server says about an object against what was asked for.

    Raises:
        Broken: it is not encrypted so.
    """
    if not asked:
        return
    method = head.get("ServerSideEncryption")
    if method != asked["ServerSideEncryption"]:
        said = f"as {method}" if method else "not at all"
    elif _is_key(asked.get("SSEKMSKeyId", ""), str(head.get("SSEKMSKeyId", ""))):
        return
    else:
        said = f"with the key {head.get('SSEKMSKeyId')}"
    raise Broken(
        f"{url} was asked to encrypt {key} as {' '.join(asked.values())}, and says that it is "
        f"encrypted {said}; the object was removed.",
        "Correct BACKUP_S3_ENCRYPTION and BACKUP_S3_KMS_KEY, or the server.",
    )


def compared(settings: Settings, place: S3Place, found: str) -> bool | None:
    """Whether a key that the server names is the one in BACKUP_S3_KMS_KEY.

    S3 answers with a key's ARN. Which key an alias stands for, KMS says to who may ask it
    (`kms:DescribeKey`).

    Returns:
        None where it may not be asked.
    """
    asked = settings.backup_s3_kms_key or ""
    if asked == found or not _is_alias(asked) or not found:
        return _is_key(asked, found)
    stands_for = _key_of(settings, place, asked)
    return None if stands_for is None else _is_key(stands_for, found)


def _key_of(settings: Settings, place: S3Place, alias: str) -> str | None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = make_client(place, settings, "kms").describe_key(KeyId=alias)
    except (BotoCoreError, ClientError, DeskError) as error:
        log.info("KMS does not say which key %s is: %s", alias, type(error).__name__)
        return None
    return str(answer["KeyMetadata"]["Arn"])


def _is_alias(key: str) -> bool:
    return bool(key.partition("alias/")[1])


def _is_key(asked: str, found: str) -> bool:
    """An alias can't be told from an ARN alone."""
    if not asked:
        return True
    if _is_alias(asked):
        return bool(found)
    return found == asked or found.rpartition("/")[2] == asked.rpartition("/")[2]
