"""The keys of protection: for whom backups are encrypted, what opens them, what signs manifests.

The machine that makes backups needs recipients and a signing key only; the identity, which
opens everything, lies where one restores. Nothing here ever shows a secret half.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from services.core.errors import Misconfigured
from services.core.settings import Settings

SHORTEST_SIGNING_KEY = 32
"""Characters; `openssl rand -hex 32` gives 64."""
_IDENTITY_HEAD = "AGE-SECRET-KEY-"
_MOST_IDENTITY_BYTES = 1 << 20
_SEPARATORS = re.compile(r"[,\s]+")
_MAKE = "Make a pair with `python services/doctor.py keys`; docs/keys.md explains it."


@dataclass(frozen=True)
class Keys:
    """The keys that this machine was given; each may be missing."""

    recipients: tuple[str, ...] = ()  # age1...: backups are encrypted for all of them
    identity_file: Path | None = None  # opens encrypted backups; only where one restores
    signing: tuple[bytes, ...] = field(default=(), repr=False)  # [0] signs, each is accepted

    @property
    def mark(self) -> str:
        """What names the set of recipients in short, whatever their order: `age:...`.

        Objects that are shared by snapshots are sent again when it changes. `none` where
        nothing is encrypted.
        """
        if not self.recipients:
            return "none"
        listed = "\n".join(sorted(self.recipients))
        return f"age:{hashlib.sha256(listed.encode()).hexdigest()[:14]}"


def keys_of(settings: Settings) -> Keys:
    """The keys that the settings name, their form checked. The identity is not read yet.

    Raises:
        Misconfigured: one is no key or too short; names the setting, never what it holds.
    """
    file = settings.backup_age_identity_file
    signing = settings.backup_signing_key
    return Keys(
        recipients=_recipients(settings.backup_age_recipients or ""),
        identity_file=None if file is None else settings.desk_home / file.expanduser(),
        signing=_signing("" if signing is None else signing.get_secret_value()),
    )


def key_id(key: bytes) -> str:
    """What names a signing key in a manifest without telling anything about it."""
    return hmac.new(key, b"insightshop-admin signing key", hashlib.sha256).hexdigest()[:16]


def recipient(text: str) -> Any:
    """A recipient as the library takes it.

    Raises:
        Misconfigured: it is none.
    """
    import pyrage

    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise _no_recipient(text) from error


def identities(file: Path) -> list[Any]:
    """The identities in a file as `age-keygen` or the doctor writes it.

    Raises:
        Misconfigured: the file is missing, can't be read, or holds none; says which.
    """
    import pyrage

    found: list[Any] = []
    for line in _identity_lines(file):
        try:
            found.append(pyrage.x25519.Identity.from_str(line))
        except pyrage.IdentityError as error:
            raise _bad_file(file, "holds a line that is no age identity") from error
    if not found:
        raise _bad_file(file, "holds no age identity (a line that begins with AGE-SECRET-KEY-1)")
    return found


def matches(keys: Keys) -> bool:
    """Whether the identity here opens what is encrypted for the recipients here.

    Raises:
        Misconfigured: the identity file can't be used.
    """
    if keys.identity_file is None:
        return False
    public = {str(identity.to_public()) for identity in identities(keys.identity_file)}
    return bool(public & set(keys.recipients))


@lru_cache(maxsize=16)
def _recipients(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part for part in _SEPARATORS.split(text) if part))
    for each in found:
        recipient(each)
    return found


def _no_recipient(text: str) -> Misconfigured:
    if text.upper().startswith(_IDENTITY_HEAD):
        return Misconfigured(
            "BACKUP_AGE_RECIPIENTS holds an identity, the secret half of a key.",
            "Put the public half (age1...) there, and make a new pair if others could read it. "
            "Nothing was changed.",
        )
    return Misconfigured(
        f"BACKUP_AGE_RECIPIENTS holds {text[:20]!r}, which is no age recipient.",
        f"It holds public keys (age1..., 62 characters), separated by commas. {_MAKE}",
    )


def _signing(text: str) -> tuple[bytes, ...]:
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if any(len(part) < SHORTEST_SIGNING_KEY for part in found):
        raise Misconfigured(
            f"BACKUP_SIGNING_KEY holds a key of fewer than {SHORTEST_SIGNING_KEY} characters. "
            "Nothing was changed.",
            "Make one with `openssl rand -hex 32`. Several are separated by commas; the first "
            "signs, each is accepted.",
        )
    return tuple(part.encode() for part in found)


def _identity_lines(file: Path) -> list[str]:
    try:
        with open(file, "rb") as opened:
            data = opened.read(_MOST_IDENTITY_BYTES + 1)
    except OSError as error:
        raise _bad_file(file, f"can't be read ({error.strerror})") from error
    if data.startswith((b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE")):
        raise _bad_file(
            file,
            "is protected by a passphrase, which nobody types here at night",
            "Decrypt it with `age -d` into a file that only the desk's account can read.",
        )
    try:
        lines = [line.strip() for line in data.decode().splitlines()]
    except UnicodeDecodeError as error:
        raise _bad_file(file, "is no text") from error
    if len(data) > _MOST_IDENTITY_BYTES:
        raise _bad_file(file, "is too large for an identity file")
    return [line for line in lines if line and not line.startswith("#")]


def _bad_file(file: Path, why: str, hint: str = "") -> Misconfigured:
    return Misconfigured(
        f"The identity file {file} (BACKUP_AGE_IDENTITY_FILE) {why}. Nothing was changed.",
        hint or _MAKE,
    )
