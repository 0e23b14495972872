"""One restore of the shop's database on a PostgreSQL server. See `Replacement`.

The commit point is the exchange of two names in one transaction of the server. The database
of before is kept under a name of ours, so that taking back and Undo are the same exchange the
other way round, and what somebody wrote at the very last moment is lost to nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from services.core.context import Context
from services.core.errors import Broken
from services.protection.measuring import Known
from services.protection.model import Manifest, TableFacts
from services.protection.rescue import live as live_file
from services.protection.rescue import pg_sweep, staging
from services.protection.rescue.boundary import reached
from services.protection.rescue.compare import TableDiff
from services.protection.rescue.database import Hold, LiveState, Told
from services.protection.rescue.journal import Ledger, Phase
from services.protection.rescue.pg_beside import (
    UNDO_DAYS,
    Beside,
    Kind,
    Mark,
    exists,
    listed,
    mark_of,
    name_beside,
    own_comment,
    unmark,
    write_mark,
)
from services.protection.rescue.pg_compare import compare_on_server
from services.protection.rescue.pg_fill import fill, url_of
from services.protection.rescue.pg_witness import programs, state_of, witness
from services.protection.rescue.verify import as_facts, told_apart
from services.protection.sources.pg_connect import said
from services.protection.sources.postgres import (
    connect,
    database_name,
    maintenance,
    swap,
    table_facts,
)
from services.protection.stores.base import Store

log = logging.getLogger("desk.restore")


class PostgresReplacement:
    """One restore of the live database."""

    known: Known | None = None  # a server's facts come with its backup

    def __init__(self, ctx: Context, ledger: Ledger) -> None:
        self.ctx, self.ledger, self.url = ctx, ledger, ctx.settings.shop_database_url
        self.live = database_name(self.url)
        self.state = LiveState.READY
        self.seen = ""  # the witness when the losses were counted
        self.side_seen = ""  # that of the staged one, just before it became the live one

    @property
    def side(self) -> str:
        """What becomes the live database."""
        return self.ledger.journal.side

    @property
    def old(self) -> str:
        """What the live one is called then."""
        return self.ledger.journal.old

    def look(self, seen: str) -> LiveState:
        """What is there now."""
        job = self.ledger.journal.job_id
        self.ledger.save(
            Phase.STAGING,
            side=name_beside(self.live, Kind.RESTORE, job),
            old=name_beside(self.live, Kind.BEFORE, job),
        )
        self.state = state_of(self.url)
        return self.state

    def stage(self, store: Store, manifest: Manifest, *, undo: bool, proven: str) -> None:
        """Take the database of before, that of the preview, or a new one."""
        before = self._before(manifest.id) if undo else None
        if before is not None:
            self.ledger.save(Phase.STAGING, side=before.name)
        elif not self._adopted(manifest):
            self._filled(store, manifest)
        url = url_of(self.url, self.side)
        migrated = staging.mark(self.ctx, url, self.ledger.journal.job_id, manifest.id)
        same = not (migrated or before)
        self.ledger.note(facts=as_facts(manifest.tables if same else table_facts(url)))

    def _before(self, safety_id: str) -> Beside | None:
        with maintenance(self.url) as connection:
            for found in listed(connection, self.live):
                if found.mark.kind is Kind.BEFORE and found.mark.snapshot == safety_id:
                    return found
        return None

    def _adopted(self, manifest: Manifest) -> bool:
        """Take over what the preview restored, if it still is what was backed up."""
        with pg_sweep.previewing(self.ctx):
            name = name_beside(self.live, Kind.PREVIEW, manifest.id)
            with maintenance(self.url) as connection:
                mark = mark_of(connection, name)
                if mark is None or not mark.ready:
                    return False
                own = self.side
                self.ledger.save(Phase.STAGING, side=name)
                pg_sweep.noted(self.ctx, name)
                write_mark(connection, name, self._mark(Kind.RESTORE, manifest.id, mark.was))
        reached("database fetched")
        if mark.witness and witness(self.url, name) == mark.witness:
            return True  # nobody wrote to it since it was held to the manifest
        try:
            staging.require_facts(table_facts(url_of(self.url, name)), manifest)
        except Broken:
            log.warning("what the preview restored is no longer what was backed up: made anew")
            pg_sweep.drop(self.ctx, self.url, name)
            self.ledger.save(Phase.STAGING, side=own)
            return False
        return True

    def _filled(self, store: Store, manifest: Manifest) -> None:
        with maintenance(self.url) as connection:
            was = own_comment(connection, self.live)
        mark = self._mark(Kind.RESTORE, manifest.id, was)
        dump = Path(self.ledger.journal.work) / "database.pgdump"
        fill(self.ctx, store, manifest, self.side, mark, dump)

    def _mark(self, kind: Kind, snapshot: str, was: str) -> Mark:
        now = self.ctx.now().isoformat()
        return Mark(kind, self.live, snapshot, self.ledger.journal.job_id, now, was=was)

    def notice(self) -> str:
        """Remember what the server has counted so far."""
        if self.state is LiveState.READY:
            self.seen = witness(self.url, self.live)
        return self.seen

    def compare(self) -> tuple[TableDiff, ...]:
        """How the live database differs from the staged one."""
        facts = {name: TableFacts(*fact) for name, fact in self.ledger.journal.facts.items()}
        live = self.live if self.state is LiveState.READY else None
        return compare_on_server(self.url, live, self.side, facts)

    def keep_damaged(self) -> list[str]:
        """A database without tables is kept on the server like any other."""
        self.ledger.note(replaces=self.state is LiveState.MISSING)
        return []

    def replace(self, hold: Hold) -> Told:
        """Exchange the names; the sessions of others are ended by it."""
        told = Told()
        if self.state is LiveState.READY and witness(self.url, self.live) != self.seen:
            # Somebody wrote after the comparison: hold the plan to what is there now.
            self.notice()
            hold(self.compare())
        if self.state is not LiveState.MISSING:
            pg_sweep.noted(self.ctx, self.old, timedelta(days=UNDO_DAYS))
        self.side_seen = witness(self.url, self.side)
        self.ctx.shop.dispose()
        reached("database held")
        swap(self.url, self.side, self.old, live_file.PATIENCE_SECONDS)
        reached("database written")
        self.ctx.shop.dispose()
        if self.state is not LiveState.MISSING:
            told.notes += self._told_of_before()
        return told

    def _told_of_before(self) -> list[str]:
        notes = []
        if self.state is LiveState.READY and witness(self.url, self.old) != self.seen:
            notes.append(
                "Another program wrote to the database up to the last moment. The database of "
                "before has all of it, and Undo brings it back."
            )
        notes.append(
            f"The database of before is kept on the server as {self.old}, for {UNDO_DAYS} days or "
            "until the next restore."
        )
        return notes

    def verify(self) -> list[str]:
        """Compare the digests of what is live with those of what was staged."""
        if not self._marked():
            raise Broken("The database that is live now is not the restored one.")
        found = as_facts(table_facts(self.url))
        # What a session wrote is counted up to some seconds later: where one is, it may have.
        with maintenance(self.url) as connection:
            others = programs(connection, self.live) > 0
        others = others or witness(self.url, self.live) != self.side_seen
        return told_apart(found, self.ledger.journal.facts, others_wrote=others)

    def close(self) -> None:
        """No connection is held between two steps."""

    def committed(self) -> bool:
        """The restored database has the live one's name, and our mark in it."""
        with maintenance(self.url) as connection:
            if exists(connection, self.side) or not exists(connection, self.live):
                return False
        return self._marked()

    def settled(self) -> list[str]:
        """Others may have written since; a difference is told, not held against it."""
        return told_apart(
            as_facts(table_facts(self.url)), self.ledger.journal.facts, others_wrote=True
        )

    def take_back(self, open_store: Callable[[], Store]) -> None:
        """Exchange the names once more."""
        if not self.committed():
            return
        if self.ledger.journal.replaces:
            self._move_away()
            return
        with maintenance(self.url) as connection:
            kept = exists(connection, self.old)
        if not kept:
            raise Broken(f"The database of before, kept as {self.old}, is no longer there.")
        self.ctx.shop.dispose()
        swap(self.url, self.old, self.side, live_file.PATIENCE_SECONDS)
        self.ctx.shop.dispose()

    def _move_away(self) -> None:
        from psycopg import sql

        with maintenance(self.url) as connection:
            connection.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                    sql.Identifier(self.live), sql.Identifier(self.side)
                )
            )

    def tidy(self, *, new: bool) -> list[str]:
        """Drop what was staged, or keep what it replaced for Undo and drop what is older."""
        if not self.side:
            return []  # killed before anything was decided
        if new:
            return self._keep_before()
        with maintenance(self.url) as connection:
            if exists(connection, self.live):
                unmark(connection, self.live)
            mark = mark_of(connection, self.side)
        if mark is None or mark.kind is not Kind.BEFORE:
            pg_sweep.drop(self.ctx, self.url, self.side)
        pg_sweep.forgotten(self.ctx, self.old)
        return []

    def _keep_before(self) -> list[str]:
        journal = self.ledger.journal
        with maintenance(self.url) as connection:
            if exists(connection, self.old):
                was = own_comment(connection, self.old)
                write_mark(connection, self.old, self._mark(Kind.BEFORE, journal.safety_id, was))
            unmark(connection, self.live)
            pg_sweep.forgotten(self.ctx, self.side)
            older = [
                found.name
                for found in listed(connection, self.live)
                if found.mark.kind is Kind.BEFORE and found.name != self.old
            ]
        for name in older:
            pg_sweep.drop(self.ctx, self.url, name)
        return []

    def _marked(self) -> bool:
        with connect(self.url) as connection, said():
            there = connection.execute("SELECT to_regclass('kb_restores') IS NOT NULL").fetchone()
            if not there or not there[0]:
                return False
            row = connection.execute(
                "SELECT 1 FROM kb_restores WHERE job_id = %s", (self.ledger.journal.job_id,)
            ).fetchone()
        return row is not None
