"""The shop's database on a PostgreSQL server, looked at. See `Database`.

What a snapshot holds is restored into a database of its own on the same server and compared
there; the restore takes that one over. Nothing is ever restored into the live one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from services.core.context import Context
from services.core.errors import DeskError
from services.protection import snapshots
from services.protection.model import Manifest, Part
from services.protection.rescue import live as live_file
from services.protection.rescue import pg_sweep, staging
from services.protection.rescue.database import PREVIEW_LIFE, Compared, LiveState, Watch
from services.protection.rescue.journal import Ledger
from services.protection.rescue.pg_beside import (
    UNDO_DAYS,
    Beside,
    Kind,
    Mark,
    listed,
    name_beside,
    own_comment,
    write_mark,
)
from services.protection.rescue.pg_compare import compare_on_server
from services.protection.rescue.pg_fill import fill
from services.protection.rescue.pg_rights import require_rights
from services.protection.rescue.pg_swap import PostgresReplacement
from services.protection.rescue.pg_witness import programs, rows_written, state_of, witness
from services.protection.rescue.words import plural
from services.protection.sources.postgres import (
    database_name,
    live_bytes,
    maintenance,
)
from services.protection.stores.base import Store

_GROWN = 1.6
"""What a restored database takes beside its dump: indexes, page headers, the log."""


class PostgresDatabase:
    """The live database, looked at."""

    def __init__(self, ctx: Context) -> None:
        self.ctx, self.url = ctx, ctx.settings.shop_database_url
        self.name = database_name(self.url)

    def state(self) -> LiveState:
        """What is there."""
        return state_of(self.url)

    def state_line(self, state: LiveState) -> str:
        """What a preview says about a database that is not ready."""
        if state is LiveState.MISSING:
            return f"The server has no database {self.name}: everything in the backup comes back"
        return (
            f"The database {self.name} holds no table: everything in the backup comes back, and "
            "the empty one is kept beside it"
        )

    def witness(self) -> str:
        """What the server counts of every table."""
        with suppress(DeskError):
            return witness(self.url, self.name)
        return ""

    @contextmanager
    def watching(self) -> Iterator[Callable[[], str]]:
        """Rows written by anybody within a moment, as the server counts them.

        No longer: the server's own upkeep of its statistics counts as writing too.
        """
        with ThreadPoolExecutor(1) as beside:
            yield beside.submit(self._writer_seen).result

    def _writer_seen(self) -> str:
        with suppress(DeskError), maintenance(self.url) as connection:
            before = rows_written(connection, self.name)
            time.sleep(live_file.WATCH_SECONDS)
            if rows_written(connection, self.name) != before:
                return "Another program wrote to the shop's database just now."
        return ""

    def require_rights(self) -> None:
        """Creating databases, renaming this one, ending the sessions of others."""
        require_rights(self.url, self.name)

    def capture_bytes(self) -> int:
        """A dump goes through a pipe."""
        return 0

    def live_bytes(self) -> int:
        """What a backup of it may take in a store, at most."""
        with suppress(DeskError):
            return live_bytes(self.url)
        return 0

    def wants(self, manifest: Manifest) -> Iterable[tuple[Path, int]]:
        """The dump here; the new database where the server keeps its data, if that is here."""
        plain = snapshots.component_of(manifest, Part.DATABASE).plain_bytes
        yield self.ctx.settings.temp_dir, plain
        for folder in self._data_directory():
            yield folder, int(_GROWN * plain)

    def _data_directory(self) -> Iterator[Path]:
        with suppress(DeskError), maintenance(self.url) as connection:
            # Only who may read all settings is told; and only a server of this machine has it.
            row = connection.execute(
                "SELECT current_setting('data_directory', true), inet_server_addr() IS NULL OR "
                "inet_server_addr() = inet_client_addr() "
                "WHERE pg_has_role('pg_read_all_settings', 'MEMBER')"
            ).fetchone()
            if row and row[1] and row[0] and Path(row[0]).is_dir():
                yield Path(row[0])

    def compared(
        self, store: Store, manifest: Manifest, state: LiveState, watch: Watch
    ) -> Compared:
        """Restore the snapshot's dump beside the live database, and compare."""
        with pg_sweep.previewing(self.ctx):
            side = self._restored(store, manifest, watch)
            watch("Comparing", 0.6)
            tables = compare_on_server(
                self.url,
                self.name if state is LiveState.READY else None,
                side.name,
                manifest.tables,
                lambda share: watch("Comparing", 0.6 + 0.3 * share),
            )
        return Compared(tables, tuple(self._notes(side, state)))

    def _notes(self, side: Beside, state: LiveState) -> Iterator[str]:
        if side.mark.note:
            yield side.mark.note
        if state is LiveState.MISSING:
            return
        with maintenance(self.url) as connection:
            connected = programs(connection, self.name)
        if connected:
            yield (
                f"{plural(connected, 'connection', 'connections')} of other programs will be cut "
                "for a moment when the databases change places"
            )
        size = f"{self.live_bytes() / 1e6:,.0f} MB"
        yield (
            f"The database of before stays on the server for {UNDO_DAYS} days, or until the next "
            f"restore, and takes {size} there: Undo needs a moment"
        )

    def _restored(self, store: Store, manifest: Manifest, watch: Watch) -> Beside:
        name = name_beside(self.name, Kind.PREVIEW, manifest.id)
        with maintenance(self.url) as connection:
            for found in listed(connection, self.name):
                if found.name == name and found.mark.ready:
                    return found
            was = own_comment(connection, self.name)
        pg_sweep.clear_previews(self.ctx, self.url, self.name)
        pg_sweep.drop(self.ctx, self.url, name)
        mark = Mark(Kind.PREVIEW, self.name, manifest.id, "", self.ctx.now().isoformat(), was=was)
        watch("Fetching the backup's database to look inside", 0.05)

        def filling(share: float) -> None:
            watch("Restoring the backup beside the live database", 0.2 + 0.3 * share)

        dump = staging.preview_file(self.ctx, manifest)
        filled = fill(self.ctx, store, manifest, name, mark, dump, filling)
        seen = witness(self.url, name)
        mark = replace(mark, ready=True, note=" ".join(filled), witness=seen)
        with maintenance(self.url) as connection:
            write_mark(connection, name, mark)
        pg_sweep.noted(self.ctx, name, PREVIEW_LIFE)
        return Beside(name, mark)

    def clear_previews(self) -> None:
        """Remove what previews restored, and what was left behind."""
        with pg_sweep.previewing(self.ctx):
            pg_sweep.clear_previews(self.ctx, self.url, self.name)

    def sweep(self) -> None:
        """Remove what is over."""
        pg_sweep.sweep(self.ctx, self.url, self.name)

    def replacement(self, ledger: Ledger) -> PostgresReplacement:
        """One restore of it."""
        return PostgresReplacement(self.ctx, ledger)
