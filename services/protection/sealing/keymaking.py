"""Make a pair of keys, and the sheet of paper on which the secret half survives the machine."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from services.core.errors import Broken, DeskError, Misconfigured, Refused
from services.core.settings import Settings, mask_url
from services.protection.sealing.recovery_sheet import Sheet, html

IDENTITY = "identity.txt"
RECOVERY = "recovery-identity.txt"
SHEET = "recovery-sheet.html"


@dataclass(frozen=True)
class Pair:
    """A pair of keys; the secret half is never shown by accident."""

    recipient: str  # age1...
    file: Path  # with the identity


@dataclass(frozen=True)
class MadeKeys:
    """What was made, without any secret."""

    operator: Pair
    recovery: Pair | None
    sheet: Path

    @property
    def recipients(self) -> str:
        """As BACKUP_AGE_RECIPIENTS takes it."""
        pairs = (self.operator, self.recovery)
        return ",".join(pair.recipient for pair in pairs if pair is not None)


def make_keys(settings: Settings, folder: Path, now: datetime, *, recovery: bool) -> MadeKeys:
    """Make the operator's pair, a recovery pair if wanted, and the sheet. Replaces nothing.

    The sheet carries the recovery identity where there is one, else the operator's: a sheet
    in a safe should not open more than it has to be able to replace.

    Raises:
        Refused: one of the files is there; nothing was written.
        Misconfigured, Broken: the folder can't be written.
    """
    wanted = [IDENTITY, SHEET, *([RECOVERY] if recovery else [])]
    there = [name for name in wanted if os.path.lexists(folder / name)]
    if there:
        raise Refused(
            f"{folder} holds {' and '.join(there)} already; nothing was written.",
            "Keys are never replaced: what they encrypted needs them. Name another folder with "
            "--out.",
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        return _make(settings, folder, now, recovery=recovery)
    except DeskError:
        for name in wanted:  # nothing is encrypted for them yet
            (folder / name).unlink(missing_ok=True)
        raise


def _make(settings: Settings, folder: Path, now: datetime, *, recovery: bool) -> MadeKeys:
    operator, secret = _pair(folder / IDENTITY, "operator", now)
    other, other_secret = None, secret
    if recovery:
        other, other_secret = _pair(folder / RECOVERY, "recovery", now)
    shown = other or operator
    sheet = Sheet(
        instance=settings.instance_id,
        store_url=mask_url(settings.store_url),
        endpoint=mask_url(settings.aws_endpoint_url_s3 or ""),
        recipient=shown.recipient,
        identity=other_secret,
        checksum=checksum(other_secret),
        role="recovery" if other else "operator",
        made_at=now,
    )
    write_secret(folder / SHEET, html(sheet))
    return MadeKeys(operator, other, folder / SHEET)


def checksum(identity: str) -> str:
    """Tells whether an identity was typed off paper without a mistake; 16 hexadecimal digits."""
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def write_secret(target: Path, text: str) -> None:
    """Write a file that its owner alone can read, complete or not at all; replaces none.

    Raises:
        Refused: it is there.
        Misconfigured, Broken: it can't be written.
    """
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with open(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, target)  # unlike a rename, a link never takes the place of a file
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as error:
        raise Refused(f"{target} is there already; it was left as it is.") from error
    except OSError as error:
        raise _unwritable(target.parent, error) from error
    finally:
        aside.unlink(missing_ok=True)


def _pair(file: Path, role: str, now: datetime) -> tuple[Pair, str]:
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    public, secret = str(identity.to_public()), str(identity)
    write_secret(
        file,
        f"# InsightShop backups: {role} identity, made {now:%Y-%m-%d %H:%M} UTC\n"
        f"# public key: {public}\n{secret}\n",
    )
    return Pair(public, file), secret


def _unwritable(folder: Path, error: OSError) -> Misconfigured | Broken:
    if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
        return Misconfigured(
            f"{folder} can't be written ({error.strerror}); no keys were made there.",
            "Name another folder with --out.",
        )
    return Broken(
        f"{folder} could not be written ({error.strerror}).",
        "Free some space there, or name another folder with --out.",
    )
