"""Read the settings: the environment, then `.env`, then a secret in AWS Secrets Manager."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from services.core.errors import Misconfigured
from services.core.settings import ALREADY_READ, PROJECT_ROOT, Settings

_SECRET_NAMES = re.compile(r"SECRET|KEY|PASSWORD|TOKEN|CODE|URL", re.IGNORECASE)


def load_settings(env_file: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings: `overrides`, then the environment, then `.env`, then the secret in
    AWS Secrets Manager that one of them names.

    Args:
        env_file: the `.env` to read; the project's own by default.
        overrides: field values that win over everything (tests use them).

    Raises:
        Misconfigured: a value is wrong, or the secret can't be used; names the variable, what
            it holds (secrets masked) and what it may hold.
        Transient: Secrets Manager does not answer.
    """
    home = Path(overrides.get("desk_home") or os.environ.get("DESK_HOME") or PROJECT_ROOT)
    file = env_file or PROJECT_ROOT / home.expanduser() / ".env"
    try:
        explicit = _read(file, overrides, frozenset())
        secret = _from_secret(explicit)
        if not secret:
            return explicit
        return _read(file, secret | overrides, frozenset(secret))
    except UnicodeDecodeError as error:
        raise Misconfigured(
            f"{file.name} is not UTF-8 text.", "Save it as UTF-8. Nothing was started."
        ) from error


def _read(file: Path, values: dict[str, Any], secret: frozenset[str]) -> Settings:
    """`values` and what the environment and the file say beside them.

    Args:
        secret: which of the values come from a secret: what they hold is never shown.
    """
    try:
        return Settings(_env_file=file if file.is_file() else None, **values)  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]).lower() if first["loc"] else ""
        name = field.upper() or "a setting"
        hidden = field in secret or _SECRET_NAMES.search(name)
        held = "***" if hidden else repr(first.get("input"))
        may = str(first["msg"]).removeprefix("Value error, ")
        where = "the secret" if field in secret else "the environment or in .env"
        raise Misconfigured(
            f"{name} holds {held}, which can't be used.",
            f"It may hold: {may}. Nothing was started; correct it in {where}.",
        ) from (None if hidden else error)


def _from_secret(explicit: Settings) -> dict[str, str]:
    """What the secret says of settings that nothing else says anything of."""
    name = explicit.aws_secrets_insightshop
    # A process that another one of ours started was given everything by it.
    if not name or os.environ.get(ALREADY_READ) == name:
        return {}
    from services.core.secrets_manager import values_of

    secret, token = explicit.aws_secret_access_key, explicit.aws_session_token
    return values_of(
        name,
        frozenset(Settings.model_fields) - explicit.model_fields_set,
        region=explicit.aws_region,
        credentials=(
            explicit.aws_access_key_id,
            secret.get_secret_value() if secret else None,
            token.get_secret_value() if token else None,
        ),
    )
