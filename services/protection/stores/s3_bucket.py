"""How a bucket is kept: public access, encryption, versioning, lifecycle, Object Lock.

Each of them is read and written on its own, and a server or a policy that refuses one of
them refuses that one alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from services.core.errors import Broken, DeskError, Misconfigured
from services.core.settings import Settings
from services.protection.stores.s3_client import (
    S3Place,
    code_of,
    make_client,
    s3_errors,
)
from services.protection.stores.s3_lifecycle import (
    Lifecycle,
    Rule,
    document,
    others,
    ours,
    read_rules,
)

_NONE_YET = {
    "NoSuchPublicAccessBlockConfiguration",
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchLifecycleConfiguration",
    "ObjectLockConfigurationNotFoundError",
}
_UNKNOWN_CALL = {
    "NotImplemented",
    "XNotImplemented",
    "MethodNotAllowed",
    "UnsupportedOperation",
    # Servers that don't look at the query take the call for the making of the bucket.
    "BucketAlreadyExists",
    "BucketAlreadyOwnedByYou",
}
_FORBIDDEN = {"AccessDenied", "AllAccessDisabled"}
_BODY = "DeskLifecycleText"  # our own parameter, taken out again before botocore sees it
_EVENT = "desk-lifecycle-text"


class Found(enum.StrEnum):
    """What the bucket said about one of its settings."""

    SET = "set"
    UNSET = "unset"
    UNSUPPORTED = "unsupported"
    FORBIDDEN = "forbidden"


class Item(enum.StrEnum):
    """What "Prepare bucket" looks after."""

    PUBLIC = "public access"
    ENCRYPTION = "encryption"
    VERSIONING = "versioning"
    LIFECYCLE = "lifecycle"
    LOCK = "object lock"


@dataclass(frozen=True)
class Bucket:
    """How a bucket is kept, as far as it said so."""

    found: dict[Item, Found]
    public: dict[str, bool] = field(default_factory=dict)
    encryption: str = ""  # "AES256", "aws:kms" ...
    kms_key: str = ""
    versioning: str = ""  # "Enabled", "Suspended" or "" (never)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    lock: dict[str, Any] = field(default_factory=dict)  # Mode, Days or Years; empty: no default


class Unsupported(Misconfigured):
    """The server does not know this setting of a bucket."""


class Forbidden(Misconfigured):
    """The credentials may not change (or see) this setting of a bucket."""


class BucketKeeper:
    """Reads and writes how one bucket is kept.

    Args:
        place: bucket, prefix, endpoint, region.
        settings: where the credentials come from.
    """

    def __init__(self, place: S3Place, settings: Settings) -> None:
        self._place = place
        self._settings = settings

    def read(self) -> Bucket:
        """Everything, one request each.

        Raises:
            Transient, Misconfigured: the bucket can't be reached or is not there.
        """
        with s3_errors(self._place):
            self._client.head_bucket(Bucket=self._place.bucket)
        public, blocked = self._get(
            "get_public_access_block", "PublicAccessBlockConfiguration", full=True
        )
        encrypted, rules = self._get(
            "get_bucket_encryption", "ServerSideEncryptionConfiguration", full=True
        )
        versions, status = self._get("get_bucket_versioning", "Status")
        lived, life = self._get("get_bucket_lifecycle_configuration", "")
        lockable, lock = self._get(
            "get_object_lock_configuration", "ObjectLockConfiguration", full=True
        )
        lifecycle = Lifecycle()
        if lived is Found.SET:
            if "Rules" in life:
                lifecycle = read_rules(
                    life[_BODY], life["Rules"], life.get("TransitionDefaultMinimumObjectSize", "")
                )
            else:
                lived = Found.UNSUPPORTED
        default = ((rules or {}).get("Rules") or [{}])[0].get(
            "ApplyServerSideEncryptionByDefault", {}
        )
        held = ((lock or {}).get("Rule") or {}).get("DefaultRetention") or {}
        return Bucket(
            {
                Item.PUBLIC: public,
                Item.ENCRYPTION: encrypted,
                Item.VERSIONING: versions,
                Item.LIFECYCLE: lived,
                Item.LOCK: lockable,
            },
            blocked or {},
            default.get("SSEAlgorithm", ""),
            default.get("KMSMasterKeyID", ""),
            status or "",
            lifecycle,
            {name: held[name] for name in ("Mode", "Days", "Years") if held.get(name)},
        )

    def block_public(self) -> None:
        """Nobody outside reads or writes, whatever a policy or an object's list says."""
        names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy")
        every = dict.fromkeys((*names, "RestrictPublicBuckets"), True)
        self._put(
            lambda: self._client.put_public_access_block(
                Bucket=self._place.bucket, PublicAccessBlockConfiguration=every
            )
        )

    def encrypt(self, algorithm: str, kms_key: str = "") -> None:
        """New objects are encrypted at rest also where whoever writes does not ask for it."""
        default = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": kms_key} if kms_key else {})
        rule: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": default}
        if algorithm.startswith("aws:kms"):
            rule["BucketKeyEnabled"] = True  # one call of KMS for many objects
        self._put(
            lambda: self._client.put_bucket_encryption(
                Bucket=self._place.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}
            )
        )

    def keep_versions(self) -> None:
        """What is deleted or overwritten stays as an old version."""
        self._put(
            lambda: self._client.put_bucket_versioning(
                Bucket=self._place.bucket, VersioningConfiguration={"Status": "Enabled"}
            )
        )

    def lock(self, days: int) -> None:
        """New objects can't be removed for so many days, except by who may bypass governance."""
        default = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": days}}
        self._put(
            lambda: self._client.put_object_lock_configuration(
                Bucket=self._place.bucket,
                ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": default},
            )
        )

    def put_rules(self, found: Lifecycle, wanted: tuple[Rule, ...], ids: tuple[str, ...]) -> None:
        """Replace our rules, keep those of others word for word, and look at what came of it.

        Args:
            found: the rules as they were read a moment ago.
            ids: every id that is ours; what carries one and is not wanted goes.

        Raises:
            Unsupported, Forbidden: nothing was changed.
            Broken: afterwards the rules of others were not what they had been; they were
                put back as far as the server allowed it.
        """
        kept = sorted(text for _, text in others(found, ids))
        self._put_lifecycle(document(found, wanted, ids), found.minimum_size)
        after = self.read().lifecycle
        if sorted(text for _, text in others(after, ids)) == kept:
            if ours(after, ids) != wanted:
                raise Broken(
                    f"{self._place.url} took the lifecycle rules of the desk but keeps other ones.",
                    "Look at the bucket's rules; don't rely on them before the cause is known.",
                )
            return
        before = b"".join(found.texts)
        whole = document(Lifecycle(), (), ()).replace(
            b"</LifecycleConfiguration>", before + b"</LifecycleConfiguration>"
        )
        self._put_lifecycle(whole, found.minimum_size)
        raise Broken(
            f"{self._place.url} changed lifecycle rules of others when it took the desk's. "
            "They were sent again as they had been.",
            "Look at the bucket's rules, and add the desk's by hand (docs/storage.md).",
        )

    def _put_lifecycle(self, text: bytes, minimum_size: str) -> None:
        more = {"TransitionDefaultMinimumObjectSize": minimum_size} if minimum_size else {}
        self._put(
            lambda: self._client.put_bucket_lifecycle_configuration(
                Bucket=self._place.bucket, **more, **{_BODY: text}
            )
        )

    @cached_property
    def _client(self) -> Any:
        client = make_client(self._place, self._settings)
        events, one = client.meta.events, "s3.PutBucketLifecycleConfiguration"
        # The client is shared; registering the same name again replaces the same handler.
        events.register(f"before-parameter-build.{one}", _take_text, f"{_EVENT}-1")
        events.register(f"before-call.{one}", _send_text, f"{_EVENT}-2")
        events.register(
            "before-parse.s3.GetBucketLifecycleConfiguration", _keep_text, f"{_EVENT}-3"
        )
        return client

    def _get(self, call: str, name: str, *, full: bool = False) -> tuple[Found, Any]:
        """One setting.

        Args:
            name: of it in the answer; "" for the answer itself.
            full: it is never empty where the server knows it: servers that take the call for
                something else answer 200 with nothing of it.
        """
        from botocore.exceptions import ClientError

        with s3_errors(self._place):
            try:
                answer = getattr(self._client, call)(Bucket=self._place.bucket)
            except ClientError as error:
                found = _refusal(error)
                if found is None:
                    raise
                return found, None
        value = answer.get(name) if name else answer
        if full and not value:
            return Found.UNSUPPORTED, None
        return (Found.SET if value else Found.UNSET), value

    def _put(self, call: Callable[[], Any]) -> None:
        from botocore.exceptions import ClientError

        try:
            with s3_errors(self._place):
                call()
        except DeskError as error:
            if isinstance(cause := error.__cause__, ClientError):
                if _refusal(cause) is Found.UNSUPPORTED:
                    raise Unsupported(f"{self._place.url} does not know this setting.") from error
                if _refusal(cause) is Found.FORBIDDEN:
                    raise Forbidden(
                        f"The credentials may not change this in {self._place.url}.",
                        "docs/deploy/s3-policy-prepare.json is the policy for it.",
                    ) from error
            raise


def _refusal(error: Any) -> Found | None:
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _NONE_YET:
        return Found.UNSET
    if code in _UNKNOWN_CALL or status in (405, 501):
        return Found.UNSUPPORTED
    if code in _FORBIDDEN or status == 403:
        return Found.FORBIDDEN
    return None


def _take_text(params: dict[str, Any], context: dict[str, Any], **_more: Any) -> None:
    if _BODY in params:
        context[_BODY] = params.pop(_BODY)


def _send_text(params: dict[str, Any], context: dict[str, Any], **_more: Any) -> None:
    if _BODY in context:
        params["body"] = context[_BODY]


def _keep_text(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_more: Any
) -> None:
    customized_response_dict[_BODY] = bytes(response_dict["body"])
