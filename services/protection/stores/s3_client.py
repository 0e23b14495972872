"""The connection to S3: how the client is made, and what its errors mean to a person."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from services.core.errors import Archived, Broken, DeskError, Misconfigured, Transient
from services.core.settings import Settings, mask_url
from services.protection.stores.base import STORE_SETTING

_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn")
_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"}
_FORBIDDEN = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "401", "403"}
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "301", "307"}
_FULL = {"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "507"}
_WAIT = {"SlowDown", "RequestTimeout", "RequestLimitExceeded", "Throttling", "TooManyRequests"}


@dataclass(frozen=True)
class Patience:
    """How long a silent server is waited for.

    The longest a single request can take, with the defaults, is three tries of 30 s and
    the pauses between them (at most 3 s): some 95 s, then it is `Transient`.
    """

    connect_seconds: float = 10
    read_seconds: float = 30
    attempts: int = 3


HURRIED = Patience(connect_seconds=3, read_seconds=5, attempts=1)
"""For what a page shows: some 5 s, and the page opens without."""


@dataclass(frozen=True)
class S3Place:
    """A bucket, a prefix in it, and how to get there."""

    bucket: str
    prefix: str  # "" or ends with "/"
    endpoint: str | None = None  # a server that is not AWS
    region: str | None = None
    patience: Patience = Patience()
    named: str = STORE_SETTING

    @property
    def url(self) -> str:
        """For people."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def is_aws(self) -> bool:
        """Whether this is Amazon's own, through its public or a private endpoint."""
        return self.endpoint is None or (urlsplit(self.endpoint).hostname or "").endswith(
            _AWS_HOSTS
        )


def place_of(
    settings: Settings, patience: Patience | None = None, named: str = STORE_SETTING
) -> S3Place:
    """Take the bucket, prefix and endpoint out of the settings.

    Args:
        named: the setting that holds the address, for errors.

    Raises:
        Misconfigured: the address names no bucket.
    """
    bucket, _, prefix = settings.store_url.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    if not bucket or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise Misconfigured(
            f"{named} holds {mask_url(settings.store_url)!r}, which names no place.",
            "Write it as s3://BUCKET or s3://BUCKET/PREFIX.",
        )
    # Both are botocore's own variables: what its chain would use decides how we speak.
    endpoint = (
        settings.aws_endpoint_url_s3
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
    )
    return S3Place(
        bucket,
        f"{prefix}/" if prefix else "",
        endpoint or None,
        settings.aws_region,
        patience or Patience(),
        named,
    )


def make_client(place: S3Place, settings: Settings, service: str = "s3") -> Any:
    """A client of its own session, so that nothing in this process is configured globally.

    It is made once for a place and its credentials: that takes a third of a second, and a
    page opens its store at every rerun.

    Raises:
        Misconfigured: the credentials or the endpoint can't be used.
    """
    if (settings.aws_access_key_id is None) != (settings.aws_secret_access_key is None):
        raise Misconfigured(
            "Only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set; nothing was sent.",
            "Set both, or neither to use a profile or the machine's role.",
        )
    return _client(
        place,
        settings.aws_access_key_id,
        _plain(settings.aws_secret_access_key),
        _plain(settings.aws_session_token),
        service,
    )


@lru_cache(maxsize=4)
def _client(
    place: S3Place, key_id: str | None, secret: str | None, token: str | None, service: str
) -> Any:
    import boto3
    from botocore.config import Config

    # Said here, so that no variable of the machine takes it away: a bucket with Object Lock
    # refuses what comes without a checksum.
    special: dict[str, Any] = {"request_checksum_calculation": "when_supported"}
    if not place.is_aws:
        # Servers that are not AWS know neither bucket host names nor the newer checksums.
        special = {
            "s3": {"addressing_style": "path"},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
    config = Config(
        signature_version="s3v4",
        connect_timeout=place.patience.connect_seconds,
        read_timeout=place.patience.read_seconds,
        retries={"mode": "standard", "total_max_attempts": place.patience.attempts},
        max_pool_connections=16,
        **special,
    )
    with s3_errors(place):
        session = boto3.session.Session(
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            aws_session_token=token,
            region_name=place.region or (None if place.is_aws else "us-east-1"),
        )
        # Amazon's keys are another service; a server that is all of it has one address.
        endpoint = None if place.is_aws and service != "s3" else place.endpoint
        clients: Any = session.client
        return clients(service, endpoint_url=endpoint, config=config)


@contextmanager
def s3_errors(place: S3Place, key: str | None = None) -> Iterator[None]:
    """Turn botocore's errors into the desk's.

    Args:
        key: for `KeyError` where the object is missing; without it that is `Misconfigured`.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        if key is not None and code_of(error) in ("NoSuchKey", "404", "NotFound"):
            raise KeyError(key) from error
        raise _answered(place, error, key) from error
    except (BotoCoreError, HTTPError, OSError, ValueError) as error:
        raise _unanswered(place, error) from error
    except RecursionError as error:
        # botocore asks for the bucket's region on a redirect, and that is redirected too.
        raise Misconfigured(
            f"The store {place.url} {_at(place)} sends every request elsewhere. "
            "Nothing was changed.",
            "Write the address it redirects to in AWS_ENDPOINT_URL_S3 (often https, not http), "
            "or the bucket's region in AWS_REGION.",
        ) from error


def code_of(error: Any) -> str:
    """S3's word for what went wrong; for HEAD, which has no body, the HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def archived(place: S3Place, key: str | None, said: str) -> Archived:
    """An object that can't be read before it was brought back; says how for a snapshot's."""
    parts = (key or "").split("/")
    of_a_snapshot = len(parts) == 4 and parts[0] == "data"
    snapshot = parts[2] if of_a_snapshot else "ID"
    what = f"{parts[3]} of the snapshot {snapshot}" if of_a_snapshot else key or "The object"
    return Archived(
        f"{what} lies in the archive of {place.url} {said} and can't be read before it is "
        "brought back. Nothing was changed.",
        f"`python services/store.py retrieve {snapshot}` asks for it, and so does Restore.",
    )


def _answered(place: S3Place, error: Any, key: str | None) -> DeskError:
    """The server said no. Its own text is left out: it may echo what was sent."""
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"({code})" if code else f"(HTTP {status})"
    if code in ("NoSuchBucket", "404", "NotFound", "NoSuchKey"):
        return Misconfigured(
            f"There is no bucket {place.bucket} {_at(place)} {said}. Nothing was changed.",
            f"Create the bucket, or correct {place.named}"
            + (" (or S3_BACKUP_BUCKET)." if place.named == STORE_SETTING else "."),
        )
    if code in _KEYS:
        return Misconfigured(
            f"The store at {place.url} does not know the credentials {said}. Nothing was changed.",
            "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role in use.",
        )
    if code == "RequestTimeTooSkewed":
        return Misconfigured(
            f"The clock of this machine differs too much from that of {place.url} {said}.",
            "Set the clock (NTP), then try again. Nothing was changed.",
        )
    if code.startswith("KMS."):
        return Misconfigured(
            f"The store at {place.url} can't use the KMS key that it was asked to {said}. "
            "Nothing was changed.",
            "Check BACKUP_S3_KMS_KEY, that the key is enabled and in the bucket's region, and "
            "that these credentials may use it (kms:GenerateDataKey, kms:Decrypt).",
        )
    if code == "InvalidObjectState":
        return archived(place, key, said)
    if code in _ELSEWHERE:
        return Misconfigured(
            f"The bucket {place.bucket} is in another region than {place.region or 'expected'} "
            f"{said}. Nothing was changed.",
            "Set AWS_REGION to the region of the bucket.",
        )
    if code in _FULL or status == 507:
        return Transient(
            f"The store at {place.url} has no room left {said}. Nothing was listed.",
            "Free some room or raise its quota, then try again.",
        )
    if code == "InvalidRange":
        return Broken(
            f"{key or 'An object'} in {place.url} is shorter than its server said {said}.",
            "Use another snapshot, and find out what happened to this one in the store.",
        )
    if status >= 500 or code in _WAIT or status == 429:
        return Transient(
            f"The store at {place.url} could not do it now {said}. Nothing was changed.",
            "Try again in a while; the desk already tried more than once.",
        )
    if code in _FORBIDDEN or status in (401, 403):
        return Misconfigured(
            f"The store at {place.url} forbids it {said}. Nothing was changed.",
            "Allow these credentials to list, read, write and delete there (docs/deploy has the "
            "policy), and see that they have not expired and that this machine's clock is right.",
        )
    return Misconfigured(
        f"The store at {place.url} refused what it was asked {said}. Nothing was changed.",
        "Check that it is an S3 server (AWS_ENDPOINT_URL_S3), and its own log.",
    )


def _unanswered(place: S3Place, error: Exception) -> DeskError:
    """The server did not answer, or was never asked."""
    from botocore import exceptions as boto

    kind = type(error).__name__
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return Misconfigured(
            f"There are no credentials for {place.url}. Nothing was sent.",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role.",
        )
    if isinstance(
        error,
        boto.ProfileNotFound
        | boto.CredentialRetrievalError
        | boto.TokenRetrievalError
        | boto.NoRegionError
        | boto.ParamValidationError
        | boto.InvalidRegionError
        | ValueError,
    ):
        return Misconfigured(
            f"The store {place.url} can't be used as it is set ({kind}). Nothing was sent.",
            f"Check {place.named}, AWS_REGION, AWS_ENDPOINT_URL_S3 and the AWS profile.",
        )
    if isinstance(error, boto.SSLError):
        return Misconfigured(
            f"The certificate of the store {_at(place)} can't be trusted. Nothing was sent.",
            "Set AWS_CA_BUNDLE to the certificate authority, or correct AWS_ENDPOINT_URL_S3.",
        )
    return Transient(
        f"The store {place.url} {_at(place)} did not answer ({kind}).",
        "Check the network and the server, then try again. Nothing was changed.",
    )


def _at(place: S3Place) -> str:
    return f"at {mask_url(place.endpoint)}" if place.endpoint else "on AWS"


def _plain(secret: Any) -> str | None:
    return secret.get_secret_value() if secret is not None else None
