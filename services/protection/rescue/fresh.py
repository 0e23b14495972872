"""Recovery from the bucket alone: everything comes back onto a machine that has nothing.

Everything is fetched and checked beside the places where it belongs; then it is linked and
renamed into place within one moment, and only then the mark goes that keeps everybody else
away (`services.core.unfinished`). Killed at any instant and run again, it goes on where it
stopped. It never overwrites: where something is, it refuses.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sqlalchemy import StaticPool, create_engine, select

from db.control import audit_log, metadata
from db.engine import write
from services.core import audit
from services.core.access import Actor
from services.core.context import Clock, Context, open_context, prepare_folder, utc_now
from services.core.errors import Broken, Conflict, DeskError, Misconfigured, Transient
from services.core.settings import Settings
from services.protection.index import catalog
from services.protection.model import Manifest, Part
from services.protection.rescue import fresh_journal as journals
from services.protection.rescue.boundary import reached
from services.protection.rescue.fresh_find import (
    find_manifest,
    offer,
    one_before,
    require_readable,
    stored_ids,
)
from services.protection.rescue.fresh_journal import FreshJournal, Phase
from services.protection.rescue.fresh_parts import LEFT_OUT, Borrowed, Parts, clear_other
from services.protection.rescue.outcome import in_words
from services.protection.rescue.words import plural
from services.protection.stores.base import Store

Say = Callable[[str, float | None], None]
ACTION = "recovery.done"


@dataclass(frozen=True)
class FreshPlan:
    """What a recovery will put where, and that nothing stands in its way."""

    manifest: Manifest
    store_url: str
    places: tuple[tuple[str, str], ...]  # what, where (with what is set aside there)
    absent: tuple[str, ...]  # what this snapshot does not hold
    resumes: Phase | None  # a recovery that was killed goes on from there


@dataclass
class FreshOutcome:
    """What was proven, how long it took, and what to do next."""

    snapshot_id: str
    instance: str
    proved: dict[str, str] = field(default_factory=dict)  # step -> what was found, in words
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    administrators: tuple[str, ...] = ()
    total: float = 0.0


def bare_context(settings: Settings, clock: Clock = utc_now) -> Context:
    """A context without a control plane: an empty one in memory stands for it."""
    control = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    metadata.create_all(control)
    return Context(settings, control, create_engine("sqlite://"), clock)


class Fresh:
    """One recovery: look, then run.

    Args:
        settings: of the machine that gets the data; they name store and instance.
        wanted: an id, or `latest`.
        command: what to type to go on after a kill.
        without: parts that are left out, because they are damaged.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        wanted: str,
        command: str,
        borrowed: Borrowed,
        clock: Clock = utc_now,
        without: frozenset[Part] = frozenset(),
    ) -> None:
        self.settings, self.store, self.clock = settings, store, clock
        self.ctx = bare_context(settings, clock)
        self.pending = journals.load(settings)
        self.ids = self._ids()
        if self.pending and self.pending.phase is not Phase.STAGING:
            wanted = self._must_go_on(self.pending, wanted)
        found = find_manifest(self.ctx, store, wanted, self.ids)
        kept = tuple(part for part in found.components if part.part not in without)
        self.manifest = replace(found, components=kept)
        self.parts = Parts(self.ctx, store, self.manifest, borrowed)
        self.journal = FreshJournal(
            store_url=store.url,
            instance=settings.instance_id,
            snapshot_id=self.manifest.id,
            targets=dict(self.parts.places()),
            began_at=clock().isoformat(),
            command=command,
        )

    def look(self) -> FreshPlan:
        """See that it can work. Writes nothing.

        Raises:
            Conflict: something is already where the data belongs.
            Broken: the snapshot is damaged; names the one before.
            Archived: it has to be brought back from an archive first.
            Misconfigured: it is encrypted, and no identity here opens it.
        """
        resumes = self._resumes()
        asides: dict[str, str] = {}
        if resumes in (None, Phase.STAGING):
            asides = self.parts.require_free()
            with self._offering():
                require_readable(self.ctx, self.store, self.manifest)
                self.parts.require_key()
            self.parts.require_room()
        return FreshPlan(
            manifest=self.manifest,
            store_url=self.store.url,
            places=tuple(
                (what, " ".join(filter(None, (where, asides.get(what)))))
                for what, where in self.parts.places()
            ),
            absent=tuple(part.value for part in Part if part not in self.manifest.parts),
            resumes=resumes,
        )

    def run(self, actor: Actor, say: Say) -> FreshOutcome:
        """Do it, or go on with it.

        Raises:
            DeskError: nothing stands where it belongs yet, or everything does; the message
                says which.
        """
        began = time.monotonic()
        with journals.alone(self.settings):
            outcome = FreshOutcome(self.manifest.id, self.settings.instance_id)
            resumes = self._resumes()
            if resumes in (None, Phase.STAGING):
                self._stage(outcome, say)
                journals.save(self.settings, self.journal.at(Phase.PLACING))
                reached("placing")
            if resumes is not Phase.FINISHING:
                with self._step(outcome, "put in place", "Putting everything in its place", say):
                    self.parts.place()
                journals.save(self.settings, self.journal.at(Phase.FINISHING))
                reached("finishing")
            self._finish(outcome, actor, say, began)
            journals.remove(self.settings)
        return outcome

    def _ids(self) -> list[str]:
        found = stored_ids(self.store)
        ids = found.get(self.settings.instance_id)
        if ids is None:
            raise Misconfigured(
                f"{self.store.url} holds no backup of {self.settings.instance_id!r}. "
                "Nothing was changed.",
                f"It holds backups of: {', '.join(found)}. Choose one with --instance.",
            )
        return ids

    def _must_go_on(self, held: FreshJournal, wanted: str) -> str:
        if (
            wanted not in (catalog.LATEST, held.snapshot_id)
            or held.instance != self.settings.instance_id
            or held.store_url != self.store.url
        ):
            raise Conflict(
                f"The recovery of {held.instance} from {held.snapshot_id} was already putting "
                "its data in place when it was stopped. Nothing else was begun.",
                f"Let it end first: {held.command}",
            )
        return held.snapshot_id

    def _resumes(self) -> Phase | None:
        held = self.pending
        if held is None:
            return None
        if held.same_as(self.journal):
            return held.phase
        if held.phase is Phase.STAGING:
            return None
        raise Conflict(
            f"The recovery from {held.snapshot_id} was already putting its data in place "
            f"({', '.join(sorted(held.targets.values()))}) when it was stopped, and this machine "
            "is now set to other places. Nothing was changed.",
            "Set the variables as they were, and run it again.",
        )

    def _stage(self, outcome: FreshOutcome, say: Say) -> None:
        prepare_folder(self.settings.instance_dir)
        if self.pending and not self.pending.same_as(self.journal):
            say("Clearing away a recovery that was given up", None)
            clear_other(self.pending.targets, self.settings.temp_dir, self.pending.snapshot_id)
        journals.save(self.settings, self.journal)
        reached("begun")
        try:
            for name, text, work in self.parts.steps():
                with self._offering(name), self._step(outcome, name, text, say):
                    outcome.proved[name] = work()
                reached(f"{name} staged")
            self.parts.require_free()
            os.sync()
        except (Transient, KeyboardInterrupt):
            raise  # what was fetched waits for the next attempt
        except Exception as error:
            self.parts.clear()
            journals.remove(self.settings)
            said = in_words(error)
            if said is error:
                raise
            raise said from error

    def _finish(self, outcome: FreshOutcome, actor: Actor, say: Say, began: float) -> None:
        ctx = open_context(self.settings, self.clock, patient=True, recovering=True)
        try:
            with self._step(outcome, "in its place", "Comparing the knowledge base again", say):
                outcome.proved["in its place"] = self.parts.bring_knowledge(ctx, actor)
            with self._step(outcome, "check", "Opening what stands there now", say):
                outcome.proved["check"] = self.parts.check_live()
            with self._step(outcome, "list", "Listing the snapshots of the store", say):
                outcome.proved["list"] = self._list(ctx)
            outcome.administrators = self.parts.administrators(ctx)
            outcome.notes += self.parts.notes
            outcome.total = time.monotonic() - began
            self._audit(ctx, actor, outcome)
        finally:
            ctx.close()
        self.parts.tidy()
        reached("finished")

    def _list(self, ctx: Context) -> str:
        try:
            listed = catalog.refresh(ctx, self.store)
        except DeskError as error:
            # Everything is in its place; the desk lists them when it opens.
            return f"Not now: {error.message} The desk does it when it opens."
        unusable = f", {len(listed.unreadable)} can't be used" if listed.unreadable else ""
        return f"Listed: {plural(listed.total, 'snapshot', 'snapshots')}{unusable}."

    def _audit(self, ctx: Context, actor: Actor, outcome: FreshOutcome) -> None:
        key = f"recovery:{(self.pending or self.journal).began_at}:{self.manifest.id}"
        with write(ctx.control) as connection:
            known = connection.scalar(select(audit_log.c.id).where(audit_log.c.relay_key == key))
            if known:
                return
            audit.record(
                connection,
                ctx,
                actor,
                ACTION,
                ("snapshot", self.manifest.id),
                f"Recovered this desk and its shop from {self.manifest.id} in {self.store.url}",
                details={"proved": outcome.proved, "seconds": round(outcome.total, 3)},
                relay_key=key,
            )

    @contextmanager
    def _step(self, outcome: FreshOutcome, name: str, text: str, say: Say) -> Iterator[None]:
        say(text, None)
        began = time.monotonic()
        yield
        outcome.seconds[name] = time.monotonic() - began

    @contextmanager
    def _offering(self, name: str = "") -> Iterator[None]:
        """What is damaged is said together with what to use instead.

        Args:
            name: of the step in which that shows.
        """
        try:
            yield
        except Broken as error:
            before = one_before(self.ctx, self.store, self.manifest.id, self.ids)
            told = error.message
            if "Nothing was changed" not in told and "nothing was changed" not in told:
                told = f"{told} Nothing was changed."
            hint = offer(before, self.manifest)
            if name in LEFT_OUT:
                # Pictures are shared by all snapshots: one that is damaged stops no recovery.
                hint += f"\nOr bring back everything else: --without {LEFT_OUT[name].value}"
            raise Broken(f"The snapshot {self.manifest.id}: {told}", hint) from error
