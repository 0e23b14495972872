"""Do a restore: fetch and check aside, take a safety snapshot, apply, verify, or put back.

Fetching comes before the safety snapshot: that one is then as young as it can be, and a
backup that can't be used costs none.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from services.core.access import Actor
from services.core.context import Context, prepare_folder
from services.core.errors import Broken, DeskError, describe
from services.core.jobs import JobHandle
from services.protection import matching, snapshots
from services.protection.index import catalog
from services.protection.model import Part
from services.protection.reading import require_openable, require_way_back
from services.protection.rescue import folders, putback, staging
from services.protection.rescue.boundary import reached
from services.protection.rescue.compare import TableDiff, losses
from services.protection.rescue.database import LiveState
from services.protection.rescue.engines import database_of, engine_of, name_of, require_engine
from services.protection.rescue.journal import Journal, Ledger, Phase
from services.protection.rescue.outcome import Outcome, in_words, raise_in_words, record
from services.protection.rescue.plan import RestorePlan, require_no_more_lost
from services.protection.rescue.preview import differences
from services.protection.rescue.space import require_space
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
        require_openable(ctx, self.manifest)
        require_way_back(ctx)
        self.outcome = Outcome(plan.snapshot_id, tuple(sorted(plan.parts)), undo_of=undo_of)
        self.state = LiveState.READY
        self.document: dict[str, Any] | None = None
        scratch = prepare_folder(ctx.settings.temp_dir) / f"restore-{handle.id}"
        sources = {Part.VECTORS: ctx.settings.vector_dir, Part.IMAGES: ctx.settings.images_dir}
        with_database = Part.DATABASE in plan.parts
        if with_database:
            require_engine(ctx, self.manifest)
        journal = Journal(
            job_id=handle.id,
            snapshot_id=plan.snapshot_id,
            parts=tuple(sorted(plan.parts)),
            phase=Phase.STAGING,
            work=str(scratch),
            database=name_of(ctx) if with_database else "",
            engine=engine_of(ctx),
            folders=tuple(
                folders.plan_move(part, folder, handle.id)
                for part, folder in sources.items()
                if part in plan.parts
            ),
        )
        self.ledger = Ledger(ctx, journal)
        self.database = database_of(ctx).replacement(self.ledger) if with_database else None

    def run(self) -> Outcome:
        self.ledger.save(Phase.STAGING)
        reached("begun")
        try:
            self._look()
            self._stage()
            self._hold_to_plan()
            self._safeguard()
        except BaseException as error:
            self._close()
            putback.tidy(self.ctx, self.ledger.journal, self.database, new=False)
            raise_in_words(error)
        self.ledger.save(Phase.APPLYING)
        reached("applying")
        try:
            self._apply()
            reached("applied")
            self._verify()
        except BaseException as error:
            self._close()
            raise_in_words(self._put_back(error))
        self._close()
        if self.plan.parts & {Part.DATABASE, Part.VECTORS}:
            self.outcome.notes += matching.live_notes(self.ctx)
        reached("verified")
        self.outcome.side = "new"
        record(self.ctx, self.handle.id, self.outcome)
        reached("recorded")
        self.outcome.kept += putback.tidy(self.ctx, self.ledger.journal, self.database, new=True)
        return self.outcome

    def _look(self) -> None:
        require_space(self.ctx, self.manifest, self.plan.parts)
        if self.database:
            self.state = self.database.look(self.plan.witness)

    def _stage(self) -> None:
        ctx, store, manifest, say = self.ctx, self.store, self.manifest, self.handle
        work = Path(self.ledger.journal.work)
        work.mkdir(mode=0o700)
        if self.database:
            say.step("Fetching and checking the database beside the live one", 0.02)
            undo = bool(self.outcome.undo_of)
            self.database.stage(store, manifest, undo=undo, proven=self.plan.proven)
            reached("database staged")
        if Part.KNOWLEDGE in self.plan.parts:
            say.step("Fetching and checking the knowledge base", 0.2)
            self.document = staging.knowledge_document(ctx, store, manifest)
        for move in self.ledger.journal.folders:
            say.step(f"Fetching and checking the {move.part} beside the live ones", 0.25)
            if move.part is Part.VECTORS:
                staging.stage_vectors(ctx, store, manifest, move, work)
            else:
                wanted = snapshots.picture_list(ctx, store, manifest)
                staging.stage_images(
                    ctx, store, manifest, move, wanted, lambda f: say.progress(0.25 + 0.1 * f)
                )
            reached(f"{move.part} staged")

    def _hold_to_plan(self) -> None:
        seen = self.database.notice() if self.database else ""
        if self.plan.losses is None:
            return  # an undo: what is there now goes into a safety snapshot, nobody saw less
        self.handle.step("Comparing with what you saw", 0.36)
        tables: tuple[TableDiff, ...] = ()
        # Nobody wrote since the preview: what it found about the tables still holds.
        if self.database and (not seen or seen != self.plan.witness):
            tables = self.database.compare()
        found = differences(
            self.ctx,
            self.store,
            self.manifest,
            self.plan.parts,
            tables,
            self.state,
            self.borrowed.live_document,
        )
        require_no_more_lost(self.plan, found.losses)

    def _safeguard(self) -> None:
        if self.database and self.state is not LiveState.READY:
            self.handle.step("Keeping the unreadable database aside", 0.37)
            self.outcome.kept += self.database.keep_damaged()
        known = self.database.known if self.database else None
        try:
            safety = snapshots.create(
                self.ctx,
                self.store,
                self.handle,
                self.actor,
                reason=SAFETY,
                knowledge=self.borrowed.canonical_json,
                span=(0.38, 0.8),
                known=known or self.plan.known,
            )
        except DeskError as error:
            if self.state is LiveState.READY:
                raise
            self.outcome.notes.append(
                f"No safety snapshot could be taken ({error.message}) What was there is kept aside."
            )
            return
        self.outcome.safety_id = safety.id
        self.ledger.note(safety_id=safety.id)
        reached("safety taken")

    def _apply(self) -> None:
        # What was staged is on the disk before anything live refers to it.
        os.sync()
        for move in self.ledger.journal.folders:
            self.handle.step(f"Exchanging the {move.part}", 0.82)
            folders.exchange(move)
        if self.database:
            self.handle.step("Replacing the database in one transaction", 0.85)
            told = self.database.replace(
                lambda diffs: require_no_more_lost(self.plan, losses(diffs))
            )
            self.outcome.notes += told.notes
            self.outcome.kept += told.kept
        elif self.document is not None:
            self.handle.step("Putting the knowledge base back as one change", 0.85)
            self.borrowed.restore_document(
                self.document, putback.reason(self.manifest.id, self.handle.id)
            )

    def _verify(self) -> None:
        self.handle.step("Checking that the live data equals the backup", 0.9)
        if self.database:
            self.outcome.notes += self.database.verify()
        if self.document is not None and (self.borrowed.live_document() != self.document):
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
            self.ledger.save(Phase.PUTTING_BACK)
            reached("putting back")
            putback.take_back(self.ledger.journal, self.database, lambda: self.store)
        except BaseException as second:
            log.exception("the restore %s could not be put back", self.handle.id)
            message, hint, _id = describe(in_words(second))
            safety = self.ledger.journal.safety_id or "-"
            return Broken(
                f"The restore failed, and putting everything back failed too: {message} "
                f"The state of before is in the safety snapshot {safety}.",
                f"{hint} The desk tries again at its next start.".strip(),
            )
        record(self.ctx, self.handle.id, self.outcome)
        putback.tidy(self.ctx, self.ledger.journal, self.database, new=False)
        if isinstance(said, DeskError) and "nothing was changed" not in said.message:
            said = type(said)(f"{said.message} Everything is as it was before.", said.hint)
        return said

    def _close(self) -> None:
        if self.database:
            self.database.close()
