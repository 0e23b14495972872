"""Encryption at rest by the S3 server: what is asked for, and whether it was done."""

from __future__ import annotations

from typing import Any

from services.core.errors import Broken
from services.core.settings import Settings
from services.protection.stores.s3_client import S3Place

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


def _is_key(asked: str, found: str) -> bool:
    """S3 answers with the key's ARN; an alias can't be told from it."""
    if not asked:
        return True
    if asked.partition("alias/")[1]:
        return bool(found)
    return found == asked or found.rpartition("/")[2] == asked.rpartition("/")[2]
