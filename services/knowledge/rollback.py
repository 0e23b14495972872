"""Go back: the knowledge base, or a part of it, as it was at some moment.

What was written since is taken back as one change set that can be taken back itself; see
`returning` for a moment of the history, and `restating` for a release that is older than it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from db.knowledge import change_sets, releases
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.databases import read_shop, write_shop
from services.core.errors import Conflict, Invalid
from services.knowledge.changes import sound_reason
from services.knowledge.document import Kind
from services.knowledge.history import EntryChange, fields_of
from services.knowledge.inverse import Kept
from services.knowledge.ledger import ChangeSet, Ledger
from services.knowledge.relay import relay
from services.knowledge.restating import Restatement, lead_to
from services.knowledge.returning import Pair, Steps, lead_back, says_the_same
from services.knowledge.sections import title_of

KIND = "rollback"
WORD = "go back"
"""What is typed to confirm that the whole knowledge base goes back."""
SHOWN = 200
"""Changes of a plan that are told one by one."""


@dataclass(frozen=True)
class Moment:
    """Where to go back to; exactly one of these."""

    change_set_id: str = ""  # right after this change
    at: datetime | None = None  # everything up to this time
    release: int | None = None  # what this release was made from


@dataclass(frozen=True)
class RollbackPlan:
    """What going back would do now. It holds for exactly this state of the entries."""

    moment: Moment
    where: str  # pointer of the part that goes back; "" for the whole knowledge base
    about: str
    then: datetime  # the moment itself
    changes: tuple[EntryChange, ...]  # the first `SHOWN`
    added: int
    edited: int
    deleted: int
    moved: int  # entries whose place alone changes
    kept: tuple[Kept, ...]  # what can't go back, and why
    change_sets: int  # so many changes were made since
    fingerprint: str

    @property
    def is_empty(self) -> bool:
        """Whether everything is as it was then."""
        return not (self.added or self.edited or self.deleted or self.moved)


@dataclass(frozen=True)
class _Beginning:
    """A moment that was found."""

    number: int  # of the change set right after which it was
    about: str  # how a person says that
    then: datetime
    release: int | None = None  # the history does not reach back to it: what is kept of it counts

    def steps(self, connection: Connection, where: str) -> Steps | Restatement:
        """What leads back to it."""
        if self.release is not None:
            return lead_to(connection, self.release, where)
        return lead_back(connection, self.number, where)


def preview(ctx: Context, actor: Actor, moment: Moment, where: str = "") -> RollbackPlan:
    """What going back would change.

    Args:
        where: pointer of a section or a part of one; everything, where it is empty.

    Raises:
        Denied: without `kb.edit`.
        Invalid: there is no such moment in the history.
    """
    require(actor, Permission.KB_EDIT)
    with read_shop(ctx) as connection:
        begun = _begin(connection, moment)
        found = begun.steps(connection, where)
        later = change_sets.c.number > begun.number
        if begun.release is not None:
            later = change_sets.c.at > begun.then
        since = connection.scalar(select(func.count()).select_from(change_sets).where(later))
    pairs = [pair for pair in found.pairs if not _is_group(pair)]
    added = sum(1 for _id, entry, _row in pairs if entry is None)
    deleted = sum(1 for _id, _entry, row in pairs if row is None)
    moved = sum(1 for _id, entry, row in pairs if entry and row and says_the_same(entry, row))
    pairs.sort(key=_order)
    place = title_of(where) if where else "The whole knowledge base"
    return RollbackPlan(
        moment,
        where,
        f"{place} as it was {begun.about}",
        begun.then,
        tuple(_told(pair, actor, ctx.now()) for pair in pairs[:SHOWN]),
        added,
        len(pairs) - added - deleted - moved,
        deleted,
        moved,
        tuple(found.kept),
        since or 0,
        found.fingerprint,
    )


def roll_back(
    ctx: Context, actor: Actor, plan: RollbackPlan, reason: str = "", typed: str = ""
) -> ChangeSet:
    """Do exactly what the plan says, as one change set.

    Args:
        typed: `go back`, as the person typed it, where the whole knowledge base goes back.

    Raises:
        Denied: without `kb.edit`.
        Conflict: the entries were changed since the plan; nothing was changed.
        Invalid: the confirmation is missing, or everything is as it was then.
    """
    require(actor, Permission.KB_EDIT)
    reason = sound_reason(reason) or plan.about
    if not plan.where and typed.strip() != WORD:
        raise Invalid(
            "The confirmation does not fit; nothing was changed.",
            f"Type {WORD} to take the whole knowledge base back.",
        )
    with write_shop(ctx) as connection:
        found = _begin(connection, plan.moment).steps(connection, plan.where)
        if found.fingerprint != plan.fingerprint:
            raise Conflict(
                "Somebody changed these entries since you looked; nothing was changed.",
                "Look at what going back would do now.",
            )
        if found.is_empty:
            raise Invalid("Everything is as it was then already; nothing was changed.")
        ledger = Ledger(connection)
        found.enter(ledger)
        change_set = ledger.write(ctx, actor, KIND, reason)
    relay(ctx)
    return change_set


def _begin(connection: Connection, moment: Moment) -> _Beginning:
    if moment.at is not None:
        highest = select(func.max(change_sets.c.number)).where(change_sets.c.at <= moment.at)
        about = f"on {_minute(moment.at)} UTC"
        return _Beginning(connection.scalar(highest) or 0, about, moment.at)
    if moment.release is not None:
        return _begin_of_release(connection, moment.release)
    query = select(change_sets).where(change_sets.c.id == moment.change_set_id)
    row = connection.execute(query).first()
    if row is None:
        raise Invalid(
            "The history does not reach back to that moment; nothing was changed.",
            "Choose a change from the history, or a release.",
        )
    about = f"right after the change by {row.author} of {_minute(row.at)} UTC"
    return _Beginning(row.number, about, row.at)


def _begin_of_release(connection: Connection, number: int) -> _Beginning:
    query = (
        select(releases.c.at, change_sets.c.number)
        .outerjoin(change_sets, change_sets.c.id == releases.c.revision)
        .where(releases.c.number == number)
    )
    row = connection.execute(query).first()
    if row is None:
        raise Invalid(
            f"There is no release {number}; nothing was changed.",
            "The list of releases shows those there are.",
        )
    about = f"when release {number} was made"
    if row.number is None:
        return _Beginning(0, about, row.at, number)
    return _Beginning(row.number, about, row.at)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _is_group(pair: Pair) -> bool:
    _id, entry, row = pair
    return all(one is None or one.kind is Kind.GROUP for one in (entry, row))


def _order(pair: Pair) -> tuple[bool, str, str]:
    """As a person reads them: what only moves comes last."""
    _id, entry, row = pair
    moved = entry is not None and row is not None and says_the_same(entry, row)
    section, key = (
        (row.section, row.key) if row else (entry.section, entry.key) if entry else ("", "")
    )
    return moved, section, key


def _told(pair: Pair, actor: Actor, now: datetime) -> EntryChange:
    entry_id, entry, row = pair
    action = "add" if entry is None else "delete" if row is None else "edit"
    before = entry.row if entry else None
    _moved, section, key = _order(pair)
    fields = fields_of(before, row)
    return EntryChange(entry_id, section, key, action, fields, actor.name, now, "", "")
