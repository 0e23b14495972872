"""Settings from a secret in AWS Secrets Manager: a JSON object of variables.

The lowest layer: what the environment or `.env` says wins over it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from services.core.errors import DeskError, Misconfigured, Transient

_TELLTALES = ("boto3", "botocore", "urllib3")
"""At DEBUG they write down what the server answers: the secret."""
_NEVER_FROM_A_SECRET = frozenset({"desk_home", "aws_secrets_insightshop"})
"""They say where the desk looks first."""
_GONE = {"ResourceNotFoundException"}
_FORBIDDEN = {
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "UnrecognizedClientException",
}
_UNUSABLE = {"DecryptionFailure", "InvalidRequestException", "InvalidParameterException"}


def values_of(
    name: str,
    wanted: frozenset[str],
    *,
    region: str | None,
    credentials: tuple[str | None, str | None, str | None],
) -> dict[str, str]:
    """The settings in a secret; what it holds beside them is left alone.

    Args:
        name: of the secret, or its ARN.
        wanted: names of settings in lower case.
        region: of the secret; botocore's own chain where it is not given.
        credentials: key id, secret key and session token; the chain where they are not.

    Raises:
        Misconfigured: it is missing, not allowed, no JSON object, or a setting in it is
            neither text nor a number; never shows a value.
        Transient: Secrets Manager does not answer.
    """
    values = _object(name, _fetch(name, region, credentials))
    found: dict[str, str] = {}
    for key, value in values.items():
        field = key.lower()
        if field not in wanted - _NEVER_FROM_A_SECRET or value is None:
            continue
        if isinstance(value, bool):
            value = str(value).lower()
        if not isinstance(value, str | int | float):
            raise Misconfigured(
                f"The secret {name} holds a list or an object in {key.upper()}, not a text or a "
                "number. Nothing was started.",
                "Correct it in Secrets Manager.",
            )
        if value != "":
            found[field] = str(value)
    return found


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise Misconfigured(
            f"The secret {name} (AWS_SECRETS_INSIGHTSHOP) is no JSON object. Nothing was started.",
            'Write it as {"BACKUP_SIGNING_KEY": "...", ...}.',
        )
    return values


def _fetch(
    name: str, region: str | None, credentials: tuple[str | None, str | None, str | None]
) -> str:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    key_id, secret, token = credentials
    try:
        with _quiet():
            session = boto3.session.Session(key_id, secret, token, region_name=region)
            client = session.client(
                "secretsmanager",
                config=Config(
                    connect_timeout=5,
                    read_timeout=10,
                    retries={"mode": "standard", "total_max_attempts": 3},
                ),
            )
            answer = client.get_secret_value(SecretId=name)
    except ClientError as error:
        raise _answered(name, error) from None
    except (BotoCoreError, ValueError) as error:
        raise _unanswered(name, error) from None
    text = answer.get("SecretString")
    if not isinstance(text, str):
        raise Misconfigured(
            f"The secret {name} (AWS_SECRETS_INSIGHTSHOP) is binary. Nothing was started.",
            "Store it as text: a JSON object of settings.",
        )
    return text


@contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _TELLTALES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _answered(name: str, error: Any) -> DeskError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _GONE:
        return Misconfigured(
            f"There is no secret {name} in Secrets Manager. Nothing was started.",
            "Correct AWS_SECRETS_INSIGHTSHOP or AWS_REGION, or create the secret.",
        )
    if code in _FORBIDDEN or status in (401, 403):
        return Misconfigured(
            f"These credentials may not read the secret {name} ({code}). Nothing was started.",
            "Allow secretsmanager:GetSecretValue on it, or correct the credentials or the role.",
        )
    if code in _UNUSABLE:
        return Misconfigured(
            f"The secret {name} can't be read ({code}). Nothing was started.",
            "See in Secrets Manager whether it is being deleted, and that its key may be used.",
        )
    return Transient(
        f"Secrets Manager could not give the secret {name} now ({code or status}). "
        "Nothing was started.",
        "Try again in a while.",
    )


def _unanswered(name: str, error: Exception) -> DeskError:
    from botocore import exceptions as boto

    kind = type(error).__name__
    if isinstance(error, boto.HTTPClientError | boto.ConnectionError):
        return Transient(
            f"Secrets Manager did not answer when asked for {name} ({kind}). Nothing was started.",
            "Check the network, and AWS_ENDPOINT_URL_SECRETS_MANAGER if it is set.",
        )
    return Misconfigured(
        f"The secret {name} can't be asked for as things are set ({kind}). Nothing was started.",
        "Check AWS_REGION and the credentials, profile or role; or leave AWS_SECRETS_INSIGHTSHOP "
        "empty.",
    )
