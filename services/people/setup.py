"""Secrets that the desk makes for itself at its first start, kept in `instance/`."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from services.core.context import Context, prepare_folder
from services.core.errors import Misconfigured

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""No I, L, O, U: nothing that is read as something else (Crockford's base 32)."""
_MIN_KEY = 32
_MIN_CODE = 12


def new_code(groups: int, length: int = 4) -> str:
    """A random code that a person can read out and type: `K7QF-2M9D-...`.

    Args:
        groups: how many groups; each character is worth five bits.
        length: characters of a group.
    """
    return "-".join(
        "".join(secrets.choice(_ALPHABET) for _ in range(length)) for _ in range(groups)
    )


def fingerprint(code: str) -> str:
    """sha256 of a code as it is meant: case, spaces and hyphens do not matter."""
    plain = "".join(char for char in code.upper() if char.isalnum())
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def setup_code(ctx: Context) -> str:
    """The code that opens the first-administrator form: `DESK_SETUP_CODE`, or one made here.

    Raises:
        Misconfigured: `DESK_SETUP_CODE` is too short for production.
    """
    named = ctx.settings.desk_setup_code
    if named is None:
        return _kept(_code_file(ctx), lambda: new_code(3))
    code = named.get_secret_value()
    if ctx.settings.app_env == "production" and len(code) < _MIN_CODE:
        raise Misconfigured(
            f"DESK_SETUP_CODE is too short for production ({len(code)} characters).",
            f"Use at least {_MIN_CODE} random characters, or leave it out: the desk makes one.",
        )
    return code


def is_setup_code(ctx: Context, typed: str) -> bool:
    """Whether `typed` is the setup code; the comparison's time tells nothing."""
    return hmac.compare_digest(fingerprint(typed), fingerprint(setup_code(ctx)))


def forget_setup_code(ctx: Context) -> None:
    """Remove the code that was made here; it has done its work."""
    _code_file(ctx).unlink(missing_ok=True)


def secret_key(ctx: Context) -> str:
    """The key that signs cookies: `DESK_SECRET_KEY`, or one made here and kept.

    Raises:
        Misconfigured: `DESK_SECRET_KEY` is too short to sign anything.
    """
    named = ctx.settings.desk_secret_key
    if named is None:
        return _kept(ctx.settings.instance_dir / "secret-key", lambda: secrets.token_hex(32))
    key = named.get_secret_value()
    if len(key.encode("utf-8")) < _MIN_KEY:
        raise Misconfigured(
            f"DESK_SECRET_KEY is too short (at least {_MIN_KEY} characters are needed).",
            "Use the output of `openssl rand -hex 32`, or leave it out: the desk makes one.",
        )
    return key


def _code_file(ctx: Context) -> Path:
    return ctx.settings.instance_dir / "setup-code"


def _kept(path: Path, make: Callable[[], str]) -> str:
    try:
        kept = path.read_text("ascii").strip()
    except FileNotFoundError:
        kept = ""
    if kept:
        with suppress(FileNotFoundError):  # it has done its work meanwhile
            path.chmod(0o600)
        return kept
    prepare_folder(path.parent)
    # Linked into place complete: of two processes that start at once one wins, and the
    # other reads the winner's value, never half of it.
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write((made := make()) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
        return made
    except FileExistsError:
        if not path.read_text("ascii").strip():
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path.read_text("ascii").strip()
