"""Do a restore: fetch and check aside, take a safety snapshot, apply, verify, or put back.

Fetching comes before the safety snapshot: that one is then as young as it can be, and a
backup that can't be used costs none.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from services.core.access import Actor
from services.core.context import Context, prepare_folder
from services.core.errors import Broken, DeskError, describe
from services.core.jobs import JobHandle
from services.protection import catalog, snapshots
from services.protection.model import Part
from services.protection.rescue import folders, putback, staging
from services.protection.rescue import journal as journals
from services.protection.rescue import live as live_file
from services.protection.rescue.boundary import reached
from services.protection.rescue.compare import compare, losses
from services.protection.rescue.journal import Journal, Phase
from services.protection.rescue.live import Live, LiveState
from services.protection.rescue.outcome import Outcome, in_words, raise_in_words, record
from services.protection.rescue.plan import RestorePlan, require_no_more_lost
from services.protection.rescue.preview import differences, require_sqlite
from services.protection.rescue.space import require_space
from services.protection.rescue.verify import as_facts, facts_of, verify_database
from services.protection.stores.base import Store

log = logging.getLogger("desk.restore")

SAFETY = "safety"
"""Reason of the snapshots that restores take."""


@dataclass(frozen=True)
class Borrowed:
    """What a restore needs from the knowledge room; the door brings it."""

    canonical_json: Callable[[Engine], bytes]
    live_document: Callable[[], dict[str, Any]]
    restore_document: Callable[[dict[str, Any], str], object]  # (document, reason)


@dataclass
class _Work:
    """What a restore gathers on its way."""

    state: LiveState = LiveState.READY
    live: Live | None = None  # open from the first look on, to notice other writers
    seen: int = 0  # its version when the losses were counted
    staged: Path = field(default_factory=Path)
    document: dict[str, Any] | None = None


def restore(
    ctx: Context,
    store: Store,
    handle: JobHandle,
    actor: Actor,
    plan: RestorePlan,
    borrowed: Borrowed,
    undo_of: str = "",
) -> Outcome:
    """Put a snapshot back, inside a job.

    Args:
        actor: whose safety snapshot it is.
        undo_of: the job that this one undoes; empty for none.

    Raises:
        DeskError: nothing was changed, or everything was put back; the message says which.
    """
    return _Restore(ctx, store, handle, actor, plan, borrowed, undo_of).run()


class _Restore:
    def __init__(
        self,
        ctx: Context,
        store: Store,
        handle: JobHandle,
        actor: Actor,
        plan: RestorePlan,
        borrowed: Borrowed,
        undo_of: str,
    ) -> None:
        self.ctx, self.store, self.handle, self.actor = ctx, store, handle, actor
        self.plan, self.borrowed = plan, borrowed
        self.manifest = catalog.load_manifest(ctx, store, plan.snapshot_id)
        self.outcome = Outcome(plan.snapshot_id, tuple(sorted(plan.parts)), undo_of=undo_of)
        self.work = _Work()
        database = require_sqlite(ctx) if Part.DATABASE in plan.parts else None
        scratch = prepare_folder(ctx.settings.temp_dir) / f"restore-{handle.id}"
        self.work.staged = scratch / "database.sqlite3"
        sources = {Part.VECTORS: ctx.settings.vector_dir, Part.IMAGES: ctx.settings.images_dir}
        self.journal = Journal(
            job_id=handle.id,
            snapshot_id=plan.snapshot_id,
            parts=tuple(sorted(plan.parts)),
            phase=Phase.STAGING,
            work=str(scratch),
            database=str(database.resolve()) if database else "",
            folders=tuple(
                folders.plan_move(part, folder, handle.id)
                for part, folder in sources.items()
                if part in plan.parts
            ),
        )

    def run(self) -> Outcome:
        self._save(Phase.STAGING)
        reached("begun")
        try:
            self._look()
            self._stage()
            self._hold_to_plan()
            self._safeguard()
        except BaseException as error:
            self._close()
            putback.tidy(self.ctx, self.journal, new=False)
            raise_in_words(error)
        self._save(Phase.APPLYING)
        reached("applying")
        try:
            self._apply()
            reached("applied")
            self._verify()
        except BaseException as error:
            self._close()
            raise_in_words(self._put_back(error))
        self._close()
        reached("verified")
        self.outcome.side = "new"
        record(self.ctx, self.handle.id, self.outcome)
        reached("recorded")
        kept = putback.tidy(self.ctx, self.journal, new=True)
        self.outcome.kept += kept
        return self.outcome

    def _look(self) -> None:
        require_space(self.ctx, self.manifest, self.plan.parts)
        if self.journal.database:
            path = Path(self.journal.database)
            self.work.state = live_file.state_of(path)
            if self.work.state is not LiveState.MISSING:
                self.work.live = self._opened(path)

    def _opened(self, path: Path) -> Live | None:
        """A damaged file is filled anew where SQLite can open it at all: a shop that has it
        open would go on with the old one if it were exchanged."""
        try:
            return Live(path)
        except sqlite3.OperationalError:
            raise  # locked, or not to be written
        except sqlite3.DatabaseError:
            if self.work.state is LiveState.READY:
                raise
            return None

    def _stage(self) -> None:
        ctx, store, manifest, say = self.ctx, self.store, self.manifest, self.handle
        Path(self.journal.work).mkdir(mode=0o700)
        if self.journal.database:
            say.step("Fetching and checking the database beside the live one", 0.02)
            staging.stage_database(ctx, store, manifest, self.work.staged)
            migrated = staging.mark(ctx, self.work.staged, say.id, manifest.id)
            live = Path(self.journal.database) if self.work.live else None
            staging.make_ready(self.work.staged, live_file.page_size(live) if live else None)
            facts = facts_of(self.work.staged) if migrated else as_facts(manifest.tables)
            self.journal = replace(self.journal, facts=facts)
            reached("database staged")
        if Part.KNOWLEDGE in self.plan.parts:
            say.step("Fetching and checking the knowledge base", 0.2)
            self.work.document = staging.knowledge_document(ctx, store, manifest)
        for move in self.journal.folders:
            say.step(f"Fetching and checking the {move.part} beside the live ones", 0.25)
            if move.part is Part.VECTORS:
                staging.stage_vectors(ctx, store, manifest, move, Path(self.journal.work))
            else:
                wanted = snapshots.picture_list(ctx, store, manifest)
                staging.stage_images(
                    ctx, store, manifest, move, wanted, lambda f: say.progress(0.25 + 0.1 * f)
                )
            reached(f"{move.part} staged")

    def _hold_to_plan(self) -> None:
        self.handle.step("Comparing with what you saw", 0.36)
        if self.work.live:
            self.work.seen = self.work.live.version()
        found = differences(
            self.ctx,
            self.store,
            self.manifest,
            self.plan.parts,
            self.work.staged if self.journal.database else None,
            self.work.state,
            self.borrowed.live_document,
        )
        require_no_more_lost(self.plan, found.losses)

    def _safeguard(self) -> None:
        if self.work.state is not LiveState.READY:
            self._keep_raw()
        try:
            safety = snapshots.create(
                self.ctx,
                self.store,
                self.handle,
                self.actor,
                reason=SAFETY,
                knowledge=self.borrowed.canonical_json,
                span=(0.38, 0.8),
            )
        except DeskError as error:
            if self.work.state is LiveState.READY:
                raise
            self.outcome.notes.append(
                f"No safety snapshot could be taken ({error.message}) What was there is kept "
                "aside, file by file."
            )
            return
        self.outcome.safety_id = safety.id
        self.journal = replace(self.journal, safety_id=safety.id)
        reached("safety taken")

    def _keep_raw(self) -> None:
        folder = journals.home(self.ctx) / "kept" / self.handle.id
        self.handle.step("Keeping the unreadable database aside", 0.37)
        kept = live_file.keep_raw(Path(self.journal.database), folder)
        self.journal = replace(self.journal, replaces=True, kept=str(folder))
        self.outcome.kept += [str(path) for path in kept]

    def _apply(self) -> None:
        # What was staged is on the disk before anything live refers to it.
        os.sync()
        for move in self.journal.folders:
            self.handle.step(f"Exchanging the {move.part}", 0.82)
            folders.exchange(move)
        if self.journal.database:
            self.handle.step("Replacing the database in one transaction", 0.85)
            self._replace_database()
        elif self.work.document is not None:
            self.handle.step("Putting the knowledge base back as one change", 0.85)
            self.borrowed.restore_document(
                self.work.document, putback.reason(self.manifest.id, self.handle.id)
            )

    def _replace_database(self) -> None:
        path = Path(self.journal.database)
        live = self.work.live
        if live is not None:
            try:
                self._fill(live)
                return
            except sqlite3.DatabaseError as error:
                if self.work.state is LiveState.READY:
                    raise
                log.warning("the damaged database could not be filled: %s", error)
                live.close()
                self.work.live = None
        live_file.replace_file(self.work.staged, path, self.handle.id)

    def _fill(self, live: Live) -> None:
        with live.held():
            reached("database held")
            if self.work.state is LiveState.READY and live.version() != self.work.seen:
                self._look_again(live)
            self.work.seen = live.version()
            live.take_over(self.work.staged)

    def _look_again(self, live: Live) -> None:
        """Somebody wrote after the comparison: hold the plan to what is there now, and keep
        it, because part of it may be missing in the safety snapshot."""
        folder = prepare_folder(journals.home(self.ctx) / "kept" / self.handle.id)
        late = folder / "last-state.sqlite3"
        self.journal = replace(self.journal, kept=str(folder))
        self._save(Phase.APPLYING)
        live.copy_to(late)
        require_no_more_lost(self.plan, losses(compare(late, self.work.staged)))
        self.outcome.kept.append(str(late))
        self.outcome.notes.append(
            "Another program wrote to the database while the safety snapshot was taken. The "
            "very last state before the restore is kept aside."
        )

    def _verify(self) -> None:
        self.handle.step("Checking that the live data equals the backup", 0.9)
        if self.work.live is None and self.journal.database:
            # The file was put in place as a whole: it is opened for the first time.
            self.work.live = Live(Path(self.journal.database))
            self.work.seen = self.work.live.version()
        if self.work.live is not None:
            self.outcome.notes += verify_database(
                self.work.live, Path(self.journal.work), self.journal.facts, self.work.seen
            )
        if self.work.document is not None and (self.borrowed.live_document() != self.work.document):
            self.outcome.notes.append(
                "Somebody edited the knowledge base right after it came back."
            )
        if self.plan.restart:
            self.outcome.notes.append(
                "Restart the shop: a program that had the vectors open still reads the old ones."
            )

    def _put_back(self, error: BaseException) -> BaseException:
        said = in_words(error)
        self.handle.step("It failed: putting everything back as it was", 0.95)
        try:
            self._save(Phase.PUTTING_BACK)
            reached("putting back")
            putback.take_back(self.ctx, lambda: self.store, self.journal)
        except BaseException as second:
            log.exception("the restore %s could not be put back", self.handle.id)
            message, hint, _id = describe(in_words(second))
            return Broken(
                f"The restore failed, and putting everything back failed too: {message} "
                f"The state of before is in the safety snapshot {self.journal.safety_id or '-'}.",
                f"{hint} The desk tries again at its next start.".strip(),
            )
        record(self.ctx, self.handle.id, self.outcome)
        putback.tidy(self.ctx, self.journal, new=False)
        if isinstance(said, DeskError) and "nothing was changed" not in said.message:
            said = type(said)(f"{said.message} Everything is as it was before.", said.hint)
        return said

    def _save(self, phase: Phase) -> None:
        self.journal = self.journal.at(phase)
        journals.save(self.ctx, self.journal)

    def _close(self) -> None:
        if self.work.live is not None:
            self.work.live.close()
