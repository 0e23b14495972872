"""Make a release current, in one transaction; then write it for the shop.

The database says what is current; the folder follows. Killed in between, the desk finds an
activation that was not written, names it, and writes it at its next start or when asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from db.knowledge import activations, releases
from services.core import audit
from services.core.access import Actor, Permission, require, system_actor
from services.core.context import Context
from services.core.databases import read_shop, write_shop
from services.core.doors import Watcher, unwatched
from services.core.errors import Busy, Conflict, DeskError, Invalid, Transient
from services.knowledge.relay import relay
from services.knowledge.releasing import archive, git
from services.knowledge.releasing.archive import Member, publish_members
from services.knowledge.releasing.folder import (
    NAMES,
    Contents,
    Staged,
    discard,
    has_leftovers,
    held,
    read_contents,
    stage,
)
from services.knowledge.releasing.folder import replace as put_in_place
from services.knowledge.releasing.model import Activation, Folder, FolderState
from services.knowledge.releasing.published import current_release
from services.knowledge.releasing.standing import judge
from services.knowledge.releasing.words import sound_words

log = logging.getLogger("desk")

_STAGING = ("Writing the files beside those the shop reads", 0.3)
_WRITING_DOWN = ("Writing down that it is current", 0.6)
_PLACING = ("Putting the files in their place", 0.8)
_COMMITTING = ("Committing them", 0.9)


@dataclass(frozen=True)
class Wanted:
    """A release that is to be current."""

    data: bytes
    document: dict[str, Any]
    members: Sequence[Member]


def make_current(
    ctx: Context,
    actor: Actor,
    number: int,
    reason: str,
    *,
    over_hand_edits: bool = False,
    watcher: Watcher = unwatched,
) -> Activation:
    """Make a release current again, and write it for the shop. What is saved stays as it is.

    Args:
        reason: why; required.
        over_hand_edits: replace what somebody changed by hand in the folder.
        watcher: called with every step before it is done; it must not raise.

    Raises:
        Denied: without `kb.publish`.
        Invalid: there is no such release, it is current already, or the reason is missing.
        Conflict: the folder was changed by hand; nothing was changed.
        Refused: the folder can't be written; nothing was changed.
    """
    require(actor, Permission.KB_PUBLISH)
    reason = sound_words(reason, "reason", "changed")
    watcher(f"Reading release {number}", 0.0)
    wanted = wanted_release(ctx, number)

    def record(connection: Connection) -> int:
        if current_release(connection) == number:
            raise Invalid(
                f"Release {number} is current already; nothing was changed.",
                "If the folder does not hold it, write it again.",
            )
        return number

    return activate(ctx, actor, wanted, record, reason, over=over_hand_edits, watcher=watcher)


def wanted_release(ctx: Context, number: int) -> Wanted:
    """A release as it was made.

    Raises:
        Invalid: there is no such release.
    """
    with read_shop(ctx) as connection:
        return _wanted(connection, number)


def _wanted(connection: Connection, number: int) -> Wanted:
    return Wanted(
        archive.data_of(connection, number),
        archive.document_of(connection, number),
        archive.members_of(connection, number),
    )


def activate(
    ctx: Context,
    by: Actor,
    wanted: Wanted,
    record: Callable[[Connection], int],
    reason: str,
    *,
    over: bool = False,
    watcher: Watcher = unwatched,
) -> Activation:
    """Make a release current, for a caller who asked whether `by` may.

    Everything that can be foreseen is looked at before: where the folder can't take the
    release, nothing is changed at all.

    Args:
        record: called in the transaction; makes the release if it is new, gives its number,
            or raises what speaks against it.
        over: replace what was changed by hand.
        watcher: called with every step before it is done; it must not raise.

    Raises:
        Conflict: the folder was changed by hand; nothing was changed.
        Refused: the folder can't be written; nothing was changed.
        what `record` raises.
    """
    path = ctx.settings.publish_dir
    if path is None:
        watcher(*_WRITING_DOWN)
        made = _write_down(ctx, by, wanted, record, reason)
        relay(ctx)
        return _one(ctx, made)
    watcher(*_STAGING)
    with held(path, ctx.settings.instance_dir):
        seen, contents = _looked_at(ctx, path)
        reason += _require_writable(seen, over=over)
        staged = stage(path, contents, wanted.data, wanted.document)
        try:
            watcher(*_WRITING_DOWN)
            made = _write_down(ctx, by, wanted, record, reason)
            relay(ctx)
            return _bring(ctx, by, staged, made, watcher)
        finally:
            discard(staged)


def _looked_at(ctx: Context, path: Path) -> tuple[Folder, Contents]:
    contents = read_contents(path)
    checkout = git.find(path)
    if checkout is not None:
        git.require_ready(checkout)
    with read_shop(ctx) as connection:
        return judge(connection, path, contents, is_git=checkout is not None), contents


def _require_writable(seen: Folder, *, over: bool) -> str:
    """Gives what is added to the reason."""
    if seen.state is not FolderState.EDITED:
        return ""
    if not over:
        raise Conflict(f"{seen.message} Nothing was published.", seen.hint)
    name = seen.edited[0] if seen.edited else ""
    return f" (over changes made by hand in {name})"


def _write_down(
    ctx: Context, by: Actor, wanted: Wanted, record: Callable[[Connection], int], reason: str
) -> int:
    path = ctx.settings.publish_dir
    with write_shop(ctx) as connection:
        number = record(connection)
        publish_members(connection, wanted.members)
        made = connection.scalar(
            insert(activations)
            .values(
                release=number,
                at=ctx.now(),
                author_id=by.id,
                author=by.name,
                author_kind=by.kind.value,
                reason=reason,
                folder=None if path is None else str(path),
            )
            .returning(activations.c.id)
        )
    return int(made or 0)


# --- the folder ---


def write_again(
    ctx: Context,
    actor: Actor,
    *,
    over_hand_edits: bool = False,
    watcher: Watcher = unwatched,
) -> Activation:
    """Write the current release for the shop, where the folder does not hold it.

    Raises:
        Denied: without `kb.publish`.
        Invalid: no folder is named, or nothing was ever published.
        Conflict: the folder was changed by hand; nothing was written.
        Refused: the folder can't be written; it is as it was.
    """
    require(actor, Permission.KB_PUBLISH)
    path = ctx.settings.publish_dir
    if path is None:
        raise Invalid(
            "KB_PUBLISH_DIR names no folder; nothing was written.",
            "Set it to the folder from which the shop reads fashion_kb.py.",
        )
    with read_shop(ctx) as connection:
        if current_release(connection) is None:
            raise Invalid("There is no release yet; nothing was written.", "Publish one.")
    return _write_newest(ctx, actor, path, over=over_hand_edits, watcher=watcher)


def _write_newest(
    ctx: Context, by: Actor, path: Path, *, over: bool = False, watcher: Watcher = unwatched
) -> Activation:
    watcher(*_STAGING)
    with held(path, ctx.settings.instance_dir):
        seen, contents = _looked_at(ctx, path)
        added = _require_writable(seen, over=over)
        with read_shop(ctx) as connection:
            row = connection.execute(_newest()).one()
            if seen.state is FolderState.CURRENT:
                return activation_of(row)
            wanted = _wanted(connection, row.release)
        staged = stage(path, contents, wanted.data, wanted.document)
        if added:
            with write_shop(ctx) as connection:
                values = update(activations).where(activations.c.id == row.id)
                connection.execute(values.values(reason=row.reason + added))
        try:
            return _bring(ctx, by, staged, row.id, watcher)
        finally:
            discard(staged)


def finish(ctx: Context) -> Activation | None:
    """Write for the shop what a killed desk had made current and not written any more.

    For the start of the desk: what stands against it is told by `folder`, and never stops it.

    Returns:
        The activation that was written, or could not be; None when nothing was left to do.
    """
    path = ctx.settings.publish_dir
    if path is None:
        return None
    try:
        with read_shop(ctx) as connection:
            row = connection.execute(_newest()).first()
        if row is None or row.folder != str(path) or row.written_at or row.problem:
            if has_leftovers(path):
                with held(path, ctx.settings.instance_dir):  # clears them away
                    pass
            return None
        try:
            return _write_newest(ctx, system_actor("start"), path)
        except (Busy, Transient):
            raise  # somebody is at it, or will be
        except DeskError as error:
            return _ended(ctx, system_actor("start"), row.id, {"problem": str(error)})
    except DeskError as error:
        log.warning("the release that is current could not be written: %s", error)
        return None


def _newest() -> Any:
    return select(activations).order_by(activations.c.id.desc()).limit(1)


def _bring(ctx: Context, by: Actor, staged: Staged, made: int, watcher: Watcher) -> Activation:
    """Put the files in place, commit them, and write down what came of it. Never raises."""
    values: dict[str, Any] = {"folder": str(staged.folder), "problem": None}
    try:
        watcher(*_PLACING)
        put_in_place(staged)
        values |= {"written_at": ctx.now(), "files": dict(staged.files)}
        checkout = git.find(staged.folder)
        if checkout is not None:
            watcher(*_COMMITTING)
            done = git.commit(checkout, NAMES, _message(ctx, made))
            values |= {"commit_id": done.commit, "tag": done.tag}
    except DeskError as error:
        values["problem"] = str(error)
    return _ended(ctx, by, made, values)


def _message(ctx: Context, made: int) -> git.Message:
    with read_shop(ctx) as connection:
        both = select(activations, releases.c.notes, releases.c.digest).join(releases)
        row = connection.execute(both.where(activations.c.id == made)).one()
        earlier = (activations.c.release == row.release) & (activations.c.id < made)
        again = connection.scalar(select(func.count()).select_from(activations).where(earlier))
    title = f"Publish release {row.release} of the knowledge base"
    tag = f"kb-release-{row.release}"
    if again:
        title = f"Make release {row.release} of the knowledge base current again"
        tag = f"{tag}-again-{made}"
    return git.Message(
        title,
        row.reason,
        (("Knowledge-Release", str(row.release)), ("Knowledge-Digest", row.digest)),
        row.author,
        row.author_id,
        ctx.settings.instance_id,
        row.at,
        tag,
    )


def _ended(ctx: Context, by: Actor, made: int, values: dict[str, Any]) -> Activation:
    try:
        with write_shop(ctx) as connection:
            connection.execute(update(activations).where(activations.c.id == made).values(**values))
            connection.execute(_passed_over(made))
    except DeskError as error:
        # The files stand: only that they do is not written down, which writing again mends.
        log.warning("activation %s: what came of it could not be written down: %s", made, error)
        return replace(_one(ctx, made), problem=str(error))
    found = _one(ctx, made)
    _note(ctx, by, found)
    return found


def _passed_over(made: int) -> Any:
    open_ones = activations.c.written_at.is_(None) & activations.c.problem.is_(None)
    before = (activations.c.id < made) & activations.c.folder.is_not(None)
    said = "Another release was made current before this one was written."
    return update(activations).where(open_ones & before).values(problem=said)


def _note(ctx: Context, by: Actor, found: Activation) -> None:
    where = f"Release {found.release} of the knowledge base"
    audit.note(
        ctx,
        by,
        "release.write",
        ("release", str(found.release)),
        f"{where} could not be written for the shop: {found.problem}"
        if found.problem
        else f"{where} was written to {found.folder}",
        details={"commit": found.commit, "tag": found.tag},
        outcome="failed" if found.problem else "done",
    )


def _one(ctx: Context, made: int) -> Activation:
    with read_shop(ctx) as connection:
        row = connection.execute(select(activations).where(activations.c.id == made)).one()
    return activation_of(row)


def activation_of(row: Any) -> Activation:
    """A result row as an activation."""
    return Activation(
        row.id,
        row.release,
        row.at,
        row.author,
        row.reason,
        row.written_at,
        row.folder,
        row.commit_id,
        row.tag,
        row.problem,
    )
