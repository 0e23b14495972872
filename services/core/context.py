"""The wiring: what a service needs from outside, put together in one place."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from db.engine import BUSY_SECONDS, PATIENT_SECONDS, control_engine, shop_engine, sqlite_file
from db.migrate import NewerDatabase, upgrade_control
from services.core.errors import Misconfigured, control_error
from services.core.loading import load_settings
from services.core.settings import Settings, mask_url
from services.core.unfinished import require_finished

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time of the machine, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Context:
    """Handed to every service function as its first argument."""

    settings: Settings
    control: Engine
    shop: Engine
    clock: Clock = utc_now
    host: str = field(default_factory=socket.gethostname)

    def now(self) -> datetime:
        """The current time, aware, UTC; tests replace the clock."""
        return self.clock()

    def close(self) -> None:
        """Give every database connection back."""
        self.control.dispose()
        self.shop.dispose()


def open_context(
    settings: Settings | None = None,
    clock: Clock = utc_now,
    *,
    patient: bool = False,
    recovering: bool = False,
) -> Context:
    """Put a context together: prepare the desk's folder, migrate the control database.

    The shop's database is not touched; it may be missing, and the desk opens all the same.

    Args:
        settings: read from the environment when not given.
        clock: where the time comes from.
        patient: wait a minute for a control database that another writer holds: nobody sits
            in front of a page.
        recovering: the caller is the recovery that has not ended.

    Raises:
        Conflict: a recovery from a backup store has not ended.
        Misconfigured: a folder can't be made or written, or the control database is a newer
            version's.
        DeskError: the control database can't be used; names it (`control_error`).
    """
    settings = settings or load_settings()
    if not recovering:
        require_finished(settings)
    _require_two_databases(settings)
    prepare_folder(settings.instance_dir)
    control = sqlite_file(settings.control_url)
    if control is not None:
        prepare_folder(control.parent)
    context = Context(
        settings=settings,
        control=_engine(
            lambda url: control_engine(url, PATIENT_SECONDS if patient else BUSY_SECONDS),
            settings.control_url,
            "CONTROL_DATABASE_URL",
        ),
        shop=_engine(shop_engine, settings.shop_database_url, "DATABASE_URL"),
        clock=clock,
    )
    _migrate(context, control)
    return context


def _require_two_databases(settings: Settings) -> None:
    """A restore of the shop must never take back who may sign in and what was done."""
    shop, control = make_url(settings.shop_database_url), make_url(settings.control_url)
    if (shop.host, shop.port or 5432, shop.database) == (
        control.host,
        control.port or 5432,
        control.database,
    ):
        raise Misconfigured(
            "DATABASE_URL and CONTROL_DATABASE_URL name the same database. Nothing was started.",
            "Give the desk a database of its own: a restore of the shop's would otherwise take "
            "back accounts, the audit log and the very job that restores.",
        )


def _migrate(context: Context, file: Path | None) -> None:
    where = str(file or mask_url(context.settings.control_url))
    try:
        upgrade_control(context.control)
    except NewerDatabase as error:
        raise Misconfigured(
            f"The desk's own database ({where}) belongs to a newer version of the desk: {error}. "
            "Nothing was started.",
            "Start that version, or name another database in CONTROL_DATABASE_URL.",
        ) from error
    except SQLAlchemyError as error:
        said = control_error(error, where)
        if said is None:
            raise
        raise said from error


def _engine(make: Callable[[str], Engine], url: str, name: str) -> Engine:
    try:
        return make(url)
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"{name} names a database whose driver ({error.name}) is not installed.",
            "Install the driver (requirements.txt names it). Nothing was started.",
        ) from error


def prepare_folder(folder: Path) -> Path:
    """Make a private folder of the desk's and prove that it can be written.

    Raises:
        Misconfigured: it can't, with the system's reason.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise Misconfigured(
            f"The desk can't write to its folder {folder} ({error.strerror}).",
            "Give the account that runs the desk write permission there, or set DESK_HOME.",
        ) from error
    return folder
