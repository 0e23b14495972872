"""Look at this installation: does everything that a backup and a restore need work here?"""

from __future__ import annotations

import enum
import platform
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from db.engine import sqlite_file
from services.core.addresses import normalise_database_url
from services.core.context import Context, prepare_folder
from services.core.databases import read_shop
from services.core.errors import EXIT_DONE, EXIT_FAILED, DeskError, Misconfigured
from services.core.health import control_problem
from services.protection.sealing import keys as key_room
from services.protection.stores import open_store
from services.protection.stores.probes import clock_ahead, conditional_writes, kms_key_fits

MOST_SKEW = timedelta(minutes=1)
"""S3 refuses requests at fifteen; long before that, ids and ages are wrong."""
_LOW_DISK = 1 << 30
_WAL_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))
"""First versions of each line without the WAL-reset bug, which can corrupt a database."""
_WAL_BROKEN_SINCE = (3, 7, 0)


class State(enum.StrEnum):
    """How something is."""

    OK = "ok"
    WARNING = "warning"  # works, and should be changed
    FAILED = "failed"  # backups or restores don't work so


@dataclass(frozen=True)
class Finding:
    """What one look brought."""

    name: str
    state: State
    said: str
    hint: str = ""
    exit_code: int = EXIT_DONE


def check(ctx: Context) -> tuple[Finding, ...]:
    """Every look, in order; one that fails keeps no other from being taken."""
    return tuple(finding for look in _LOOKS for finding in _taken(ctx, *look))


def worst(findings: tuple[Finding, ...]) -> int:
    """Exit code: that of the first thing that failed."""
    return next((found.exit_code for found in findings if found.exit_code), EXIT_DONE)


def _taken(ctx: Context, name: str, look: Look) -> tuple[Finding, ...]:
    try:
        return look(ctx)
    except DeskError as error:
        return (Finding(name, State.FAILED, error.message, error.hint, error.exit_code),)


def _ok(name: str, said: str) -> tuple[Finding, ...]:
    return (Finding(name, State.OK, said),)


def _warning(name: str, said: str, hint: str) -> tuple[Finding, ...]:
    return (Finding(name, State.WARNING, said, hint),)


def _settings(ctx: Context) -> tuple[Finding, ...]:
    settings = ctx.settings
    said = (
        f"{settings.app_env}, shop {settings.instance_id!r}, desk at {settings.desk_home}, "
        f"Python {platform.python_version()}."
    )
    if not settings.names_a_shop:
        return _warning(
            "settings",
            f"{said} No shop is named: SHOP_ROOT, DATABASE_URL and DB_PATH are not set.",
            "Set SHOP_ROOT to the shop's folder.",
        )
    return _ok("settings", said)


def _control(ctx: Context) -> tuple[Finding, ...]:
    problem = control_problem(ctx)
    if problem:
        return (Finding("control database", State.FAILED, problem, "", EXIT_FAILED),)
    return _ok("control database", "It answers, and its tables are those of this version.")


def _shop(ctx: Context) -> tuple[Finding, ...]:
    with read_shop(ctx) as connection:
        connection.exec_driver_sql("SELECT 1 FROM users LIMIT 1")
    return _ok("shop database", "It answers.")


def _store(ctx: Context) -> tuple[Finding, ...]:
    store = open_store(ctx.settings)
    store.check()
    found = _ok("store", f"{store.url} takes, gives back, lists and deletes an object.")
    ahead = clock_ahead(store, ctx.clock)
    if abs(ahead) > MOST_SKEW:
        way = "ahead of" if ahead > timedelta(0) else "behind"
        found += _warning(
            "clock",
            f"The clock of this machine is {abs(ahead).total_seconds():,.0f} s {way} the store's.",
            "Set it (NTP): ages, retention and S3's signatures count on it.",
        )
    else:
        found += _ok("clock", "It agrees with the store's within a minute.")
    honoured = conditional_writes(store)
    if honoured is None:
        return found
    if honoured:
        return found + _ok("conditional writes", "The store honours them.")
    return found + _warning(
        "conditional writes",
        "The store ignores them: it can't refuse to replace an object that is there.",
        "Nothing in the desk depends on it. Give nobody else write access to this store.",
    )


def _second(ctx: Context) -> tuple[Finding, ...]:
    if ctx.settings.backup_copy_url is None:
        return ()
    store = open_store(ctx.settings, place="copy")
    store.check()
    return _ok("second store", f"{store.url} takes, gives back, lists and deletes an object.")


def _kms(ctx: Context) -> tuple[Finding, ...]:
    """Whether what is stored is encrypted with the key that was named."""
    named = ctx.settings.backup_s3_kms_key
    fits = kms_key_fits(open_store(ctx.settings)) if named else None
    if fits is None:
        return ()
    used, same = fits
    if same:
        return _ok("KMS key", f"The store encrypts with {named}.")
    if same is None:
        return _warning(
            "KMS key",
            f"The store encrypts with {used}. Whether {named} stands for it can't be compared: "
            "KMS does not tell these credentials.",
            "Allow kms:DescribeKey, or write the key's ARN into BACKUP_S3_KMS_KEY.",
        )
    raise Misconfigured(
        f"The store encrypts with {used}, which is not {named}.",
        "Correct BACKUP_S3_KMS_KEY: the alias may have been pointed at another key.",
    )


def _tools(_ctx: Context) -> tuple[Finding, ...]:
    wanted = {"age": "decrypt", "zstd": "unpack", "sqlite3": "open databases"}
    missing = [f"{name} ({use})" for name, use in wanted.items() if shutil.which(name) is None]
    if missing:
        return _warning(
            "tools",
            f"Not installed: {', '.join(missing)}. The desk does not need them.",
            "Install them to be able to recover without the desk (docs/recovery.md).",
        )
    return _ok("tools", "age, zstd and sqlite3 are installed, for a recovery without the desk.")


def _postgres(ctx: Context) -> tuple[Finding, ...]:
    """The programs that dump and restore, for each database that is on a server."""
    settings = ctx.settings
    urls = {"shop": settings.shop_database_url, "control": settings.control_url}
    if settings.drill_database_url is not None:
        drills = settings.drill_database_url.get_secret_value()
        urls["test restores"] = normalise_database_url(drills, settings.desk_home)
    found: tuple[Finding, ...] = ()
    for whose, url in urls.items():
        if sqlite_file(url) is None:
            found += _taken(ctx, "dump tools", partial(_fitting, url, whose))
    return found


def _fitting(url: str, whose: str, ctx: Context) -> tuple[Finding, ...]:
    from services.protection.sources.postgres import tools_for

    tools = tools_for(url, ctx.settings.postgres_tools)
    said = f"PostgreSQL {tools.version} in {tools.folder} fits the server ({whose})."
    return _ok("dump tools", said)


def wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Whether this version of SQLite can corrupt a database in WAL mode when two connections
    write and check-point at the same moment."""
    if version < _WAL_BROKEN_SINCE or version >= _WAL_FIXED[0]:
        return False
    return not any(version[:2] == fixed[:2] and version >= fixed for fixed in _WAL_FIXED)


def _sqlite(ctx: Context) -> tuple[Finding, ...]:
    said = f"SQLite {sqlite3.sqlite_version}."
    if wal_reset_bug(sqlite3.sqlite_version_info):
        ours = sqlite_file(ctx.settings.control_url) is not None
        return _warning(
            "sqlite",
            f"{said} It has the WAL-reset bug, which in rare cases corrupts a database in WAL mode"
            + (" (the desk's own is in it; the shop's is not)." if ours else "."),
            "Take a Python that is linked with SQLite 3.51.3, 3.50.7 or 3.44.6 or newer.",
        )
    return _ok("sqlite", said)


def _keys(ctx: Context) -> tuple[Finding, ...]:
    keys = key_room.keys_of(ctx.settings)
    return _encryption(ctx, keys) + _signing(ctx, keys)


def _encryption(ctx: Context, keys: key_room.Keys) -> tuple[Finding, ...]:
    name = "encryption"
    if keys.identity_file is not None:
        key_room.identities(keys.identity_file)
    if not keys.recipients:
        if keys.identity_file is not None:
            return _warning(
                name,
                "There is an identity here, but backups are not encrypted.",
                "Set BACKUP_AGE_RECIPIENTS to the public keys.",
            )
        return _warning(
            name,
            f"Backups are not encrypted: whoever can read {ctx.settings.store_url} reads the shop.",
            "Make keys: `python services/doctor.py keys` (docs/keys.md).",
        )
    said = f"Backups are encrypted for {len(keys.recipients)} key(s)"
    if keys.identity_file is None:
        return _ok(name, f"{said}; this machine has no identity, so it can make but not read them.")
    if not key_room.matches(keys):
        raise Misconfigured(
            "The identity here opens none of the keys that backups are encrypted for.",
            "Correct BACKUP_AGE_IDENTITY_FILE or BACKUP_AGE_RECIPIENTS: they must be of one pair.",
        )
    if keys.identity_file.stat().st_mode & 0o077:
        return _warning(
            name,
            f"{said}, but others on this machine can read the identity {keys.identity_file}.",
            f"chmod 600 {keys.identity_file}",
        )
    return _ok(name, f"{said}; the identity here opens them.")


def _signing(ctx: Context, keys: key_room.Keys) -> tuple[Finding, ...]:
    if not keys.signing:
        return _warning(
            "signatures",
            f"Manifests are not signed: whoever can write to {ctx.settings.store_url} can make a "
            "backup that looks like the desk's.",
            "Set BACKUP_SIGNING_KEY to the output of `openssl rand -hex 32` (docs/keys.md).",
        )
    first, *older = (key_room.key_id(key) for key in keys.signing)
    also = f"; also accepted: {', '.join(older)}" if older else ""
    return _ok("signatures", f"Manifests are signed with the key {first}{also}.")


def _disk(ctx: Context) -> tuple[Finding, ...]:
    found: tuple[Finding, ...] = ()
    for what, folder in _folders(ctx).items():
        free = shutil.disk_usage(folder).free
        said = f"{what}: {free / 1e9:,.1f} GB free in {folder}."
        if free < _LOW_DISK:
            found += _warning("disk", said, "Free some space there before the next backup.")
        else:
            found += _ok("disk", said)
    return found


def _folders(ctx: Context) -> dict[str, Path]:
    folders = {"Scratch space": prepare_folder(ctx.settings.temp_dir)}
    if ctx.settings.store_url.startswith("file:"):
        folder = Path(ctx.settings.store_url.removeprefix("file:"))
        if folder.is_dir():
            folders["Store"] = folder
    return folders


Look = Callable[[Context], tuple[Finding, ...]]
_LOOKS: tuple[tuple[str, Look], ...] = (
    ("settings", _settings),
    ("control database", _control),
    ("shop database", _shop),
    ("store", _store),
    ("KMS key", _kms),
    ("second store", _second),
    ("keys", _keys),
    ("sqlite", _sqlite),
    ("tools", _tools),
    ("dump tools", _postgres),
    ("disk", _disk),
)
