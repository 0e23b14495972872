"""The shop's database as an SQLite file."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from db.engine import sqlite_url
from services.core.context import Context, prepare_folder
from services.core.errors import Broken
from services.protection import snapshots
from services.protection.digests import is_counted
from services.protection.index import catalog
from services.protection.measuring import Known, Measuring, table_facts
from services.protection.model import Manifest, Part, TableFacts
from services.protection.rescue import journal as journals
from services.protection.rescue import live as live_file
from services.protection.rescue import staging
from services.protection.rescue.boundary import reached
from services.protection.rescue.compare import TableDiff, compare
from services.protection.rescue.database import PREVIEW_LIFE, Compared, Hold, LiveState, Told, Watch
from services.protection.rescue.journal import Ledger, Phase
from services.protection.rescue.live import Live
from services.protection.rescue.sqlite_look import Look, equal, looked
from services.protection.rescue.verify import as_facts, verify_database
from services.protection.sources import sqlite as sqlite_source
from services.protection.stores.base import Store
from services.protection.workspace import workspace

log = logging.getLogger("desk.restore")


class SqliteDatabase:
    """The live file, looked at. See `Database`."""

    def __init__(self, ctx: Context, path: Path) -> None:
        self.ctx, self.path = ctx, path

    def state(self) -> LiveState:
        """What is there; every page is checked when it is compared."""
        return live_file.state_of(self.path, closely=False)

    def state_line(self, state: LiveState) -> str:
        """What a preview says about a file that is not ready."""
        if state is LiveState.MISSING:
            return f"There is no shop database at {self.path}: everything in the backup comes back"
        return (
            f"The shop's database at {self.path} can't be read: everything in the backup comes "
            "back, and the unreadable file is kept aside"
        )

    def witness(self) -> str:
        """What the file system tells of the file and its companions."""
        return live_file.witness(self.path)

    def watching(self) -> AbstractContextManager[Callable[[], str]]:
        """As SQLite counts for a connection that stays open."""
        return live_file.watching(self.path)

    def require_rights(self) -> None:
        """A file that can't be written says so itself."""

    def capture_bytes(self) -> int:
        """A backup copies the file."""
        return self.live_bytes()

    def live_bytes(self) -> int:
        """What the file has now."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def wants(self, manifest: Manifest) -> Iterable[tuple[Path, int]]:
        """What staging, the safety snapshot and the one transaction need."""
        plain = snapshots.component_of(manifest, Part.DATABASE).plain_bytes
        live = self.live_bytes()
        # The staged copy, room to rewrite it in another page size, and the safety capture.
        yield self.ctx.settings.temp_dir, 2 * plain + live
        # The journal of the one transaction holds what is overwritten; then growth.
        yield self.path.parent, min(plain, live) + max(plain - live, 0)

    def compared(
        self, store: Store, manifest: Manifest, state: LiveState, watch: Watch
    ) -> Compared:
        """Fetch the snapshot's file into the scratch folder while the live one is measured."""
        component = snapshots.component_of(manifest, Part.DATABASE)
        with ExitStack() as held:
            look = self._looked(held) if state is LiveState.READY else None
            watch("Fetching the backup's database to look inside", 0.1)
            copy = self._fetched(store, manifest)
            checking = held.enter_context(Measuring(copy, references=False))
            watch("Comparing", 0.6)
            known = look.known() if look else None
            if look and known:
                tables = look.differences(
                    copy, manifest.tables, lambda share: watch("Comparing", 0.6 + 0.2 * share)
                )
            else:
                tables, state = compare(None, copy), _worse(state)
            _require_equal(checking, manifest)
        return Compared(tables, state=state, known=known, proven=component.plain_sha256)

    def _looked(self, held: ExitStack) -> Look | None:
        """None where a copy of it can't be made because it is damaged."""
        folder = held.enter_context(workspace(self.ctx, "preview"))
        try:
            return held.enter_context(looked(self.path, folder))
        except Broken:
            if live_file.state_of(self.path) is LiveState.READY:
                raise
            return None

    def clear_previews(self) -> None:
        """Only the newest one is kept: it is as large as the shop's database."""
        staging.clear_previews(self.ctx)

    def sweep(self) -> None:
        """What a preview fetched is as large as the shop's database: it waits a while only.
        Everything else of a restore lies in its folders, which the journal names."""
        staging.clear_previews(self.ctx, PREVIEW_LIFE)

    def replacement(self, ledger: Ledger) -> SqliteReplacement:
        """One restore of the file."""
        return SqliteReplacement(self.ctx, self.path, ledger)

    def _fetched(self, store: Store, manifest: Manifest) -> Path:
        target = staging.preview_file(self.ctx, manifest)
        if not staging.is_intact(target, snapshots.component_of(manifest, Part.DATABASE)):
            self.clear_previews()
            snapshots.fetch(self.ctx, store, manifest, Part.DATABASE, target)
            staging.checked(target, snapshots.component_of(manifest, Part.DATABASE))
        return target


class SqliteReplacement:
    """One restore of the file. See `Replacement`.

    Args:
        path: the live file; after a kill the one that the journal names.
    """

    def __init__(self, ctx: Context, path: Path, ledger: Ledger) -> None:
        self.ctx, self.path, self.ledger = ctx, path.resolve(), ledger
        self.staged = Path(ledger.journal.work) / "database.sqlite3"
        self.state = LiveState.READY
        self.live: Live | None = None  # open from the first look on, to notice other writers
        self.seen = 0  # its version when the losses were counted
        self.known: Known | None = None

    def look(self, seen: str) -> LiveState:
        """What is there now."""
        same = bool(seen) and live_file.witness(self.path) == seen
        self.state = live_file.state_of(self.path, closely=not same)
        if self.state is not LiveState.MISSING:
            self.live = self._opened()
        return self.state

    def _opened(self) -> Live | None:
        """A damaged file is filled anew where SQLite can open it at all: a shop that has it
        open would go on with the old one if it were exchanged."""
        try:
            return Live(self.path)
        except sqlite3.OperationalError:
            raise  # locked, or not to be written
        except sqlite3.DatabaseError:
            if self.state is LiveState.READY:
                raise
            return None

    def stage(self, store: Store, manifest: Manifest, *, undo: bool, proven: str) -> None:
        """The file of the preview is used where it still is what was backed up."""
        component = snapshots.component_of(manifest, Part.DATABASE)
        cached = staging.preview_file(self.ctx, manifest)
        if staging.is_intact(cached, component):
            cached.replace(self.staged)
        else:
            staging.clear_previews(self.ctx)
            snapshots.fetch(self.ctx, store, manifest, Part.DATABASE, self.staged)
        reached("database fetched")
        if proven != component.plain_sha256:
            with Measuring(self.staged, references=False) as checking:
                _require_equal(checking, manifest)
        migrated = staging.mark(
            self.ctx, sqlite_url(self.staged), self.ledger.journal.job_id, manifest.id
        )
        staging.make_ready(self.staged, live_file.page_size(self.path) if self.live else None)
        # A migration touches nothing but the desk's own tables.
        own = sqlite_source.table_facts(self.staged, _is_own) if migrated else {}
        self.ledger.note(facts=as_facts(manifest.tables | own))

    def notice(self) -> str:
        """Remember the version that SQLite counts for this connection."""
        if self.live:
            self.seen = self.live.version()
        return live_file.witness(self.path)

    def compare(self) -> tuple[TableDiff, ...]:
        """How the live file differs from the staged one."""
        if self.state is not LiveState.READY:
            return compare(None, self.staged)
        with looked(self.path, Path(self.ledger.journal.work)) as look:
            self.known = look.known()
            return look.differences(self.staged, _expected(self.ledger))

    def keep_damaged(self) -> list[str]:
        """Keep the file and its companions aside, byte for byte."""
        folder = journals.home(self.ctx) / "kept" / self.ledger.journal.job_id
        kept = live_file.keep_raw(self.path, folder)
        self.ledger.note(replaces=True, kept=str(folder))
        return [str(path) for path in kept]

    def replace(self, hold: Hold) -> Told:
        """Replace the content in one transaction; the file where it can't be opened."""
        told = Told()
        if self.live is not None:
            try:
                self._fill(self.live, hold, told)
                return told
            except sqlite3.DatabaseError as error:
                if self.state is LiveState.READY:
                    raise
                log.warning("the damaged database could not be filled: %s", error)
                self.live.close()
                self.live = None
        live_file.replace_file(self.staged, self.path, self.ledger.journal.job_id)
        return told

    def _fill(self, live: Live, hold: Hold, told: Told) -> None:
        with live.held():
            reached("database held")
            if self.state is LiveState.READY and live.version() != self.seen:
                self._look_again(live, hold, told)
            self.seen = live.version()
            live.take_over(self.staged)

    def _look_again(self, live: Live, hold: Hold, told: Told) -> None:
        """Somebody wrote after the comparison: hold the plan to what is there now, and keep
        it, because part of it may be missing in the safety snapshot."""
        folder = prepare_folder(journals.home(self.ctx) / "kept" / self.ledger.journal.job_id)
        late = folder / "last-state.sqlite3"
        self.ledger.save(Phase.APPLYING, kept=str(folder))
        live.copy_to(late)
        same = equal(sqlite_source.table_facts(late), _expected(self.ledger))
        hold(compare(late, self.staged, equal=same))
        told.kept.append(str(late))
        told.notes.append(
            "Another program wrote to the database while the safety snapshot was taken. The "
            "very last state before the restore is kept aside."
        )

    def verify(self) -> list[str]:
        """Compare every byte with what was staged; else the digests of a copy."""
        if self.live is None:
            # The file was put in place as a whole: it is opened for the first time.
            self.live = Live(self.path)
            self.seen = self.live.version()
        if self.live.equals(self.staged):
            return []
        return self._verified(self.live, self.seen)

    def _verified(self, live: Live, seen: int) -> list[str]:
        scratch = Path(self.ledger.journal.work)
        return verify_database(live, scratch, self.ledger.journal.facts, seen)

    def close(self) -> None:
        """Let go of the file."""
        if self.live is not None:
            self.live.close()

    def committed(self) -> bool:
        """The mark came with the content."""
        return live_file.holds_restore(self.path, self.ledger.journal.job_id)

    def settled(self) -> list[str]:
        """Others may have written since; a difference is told, not held against it."""
        Path(self.ledger.journal.work).mkdir(mode=0o700, parents=True, exist_ok=True)
        live = Live(self.path)
        try:
            return self._verified(live, seen=-1)
        finally:
            live.close()

    def take_back(self, open_store: Callable[[], Store]) -> None:
        """Put the kept files back, or the safety snapshot into the file."""
        journal = self.ledger.journal
        if journal.replaces:
            live_file.put_raw_back(Path(journal.kept), self.path)
            return
        if not self.committed():
            return
        if not journal.safety_id:
            raise Broken("There is no safety snapshot to put the database back from.")
        work = Path(journal.work)
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = work / "before.sqlite3"
        store = open_store()
        manifest = catalog.load_manifest(self.ctx, store, journal.safety_id)
        snapshots.fetch(self.ctx, store, manifest, Part.DATABASE, before)
        staging.make_ready(before, live_file.page_size(self.path))
        live = Live(self.path)
        try:
            with live.held():
                live.take_over(before)
        finally:
            live.close()

    def tidy(self, *, new: bool) -> list[str]:
        """Remove the file aside, and kept copies that are live again."""
        journal = self.ledger.journal
        live_file.aside_file(self.path, journal.job_id).unlink(missing_ok=True)
        if journal.kept and not new:
            shutil.rmtree(journal.kept, ignore_errors=True)
        return []


def _require_equal(checking: Measuring, manifest: Manifest) -> None:
    found = checking.found()
    if found.verdict != "ok":
        raise Broken(
            f"The database in the snapshot {manifest.id} is damaged; nothing was changed.",
            "Use another snapshot.",
        )
    staging.require_facts(table_facts(found.tables), manifest)


def _expected(ledger: Ledger) -> dict[str, TableFacts]:
    return {name: TableFacts(*fact) for name, fact in ledger.journal.facts.items()}


def _is_own(table: str) -> bool:
    return table.startswith("kb_") and is_counted(table)


def _worse(state: LiveState) -> LiveState:
    return LiveState.DAMAGED if state is LiveState.READY else state
