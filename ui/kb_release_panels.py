"""What opens in the Releases view: publishing, comparing, making a release current again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.core.doors import Watcher
from services.core.errors import Conflict, DeskError
from services.knowledge import history, trying
from services.knowledge.history import EntryChange
from services.knowledge.releasing import activating, comparing, releases, schedule, standing
from services.knowledge.releasing.model import (
    Activation,
    Comparison,
    Folder,
    FolderState,
    ReleasePlan,
)
from services.knowledge.validation import MAX_REASON
from ui import format as form
from ui import kb_import, kb_release_diff
from ui.kb_drafts import drafts
from ui.kb_release_diff import name_of
from ui.kb_release_open import NOTES, OVER, REASON, Panel, close, open_compare
from ui.kb_release_when import choose_when
from ui.messages import say_after_rerun, show_error, show_problem
from ui.progress import to_the_end

IMPORT = "Import the hand edits"

_LOOKED_AT = 100
"""Change sets whose reasons are offered as notes."""


def show(ctx: Context, actor: Actor, panel: Panel) -> None:
    """The open panel, in place of the list."""
    st.button(
        "All releases",
        key="kb_release_back",
        type="tertiary",
        icon=":material/arrow_back:",
        on_click=close,
    )
    _look(ctx, actor, panel)
    if panel.kind == "again" and panel.after is not None:
        _show_again(ctx, actor, panel, panel.after)
    elif panel.kind == "compare" and panel.seen is not None:
        _show_compare(ctx, actor, panel, panel.seen)
    elif panel.plan is not None:
        _show_publish(ctx, actor, panel, panel.plan)


def _look(ctx: Context, actor: Actor, panel: Panel) -> None:
    """See to it that there is something to look at; it is kept, for a page is drawn often."""
    if panel.seen is not None:
        return
    try:
        with st.spinner("Comparing, and asking the golden questions"):
            if panel.kind == "publish":
                panel.plan = releases.preview(ctx, actor)
                panel.seen, panel.folder = panel.plan.comparison, panel.plan.folder
                if panel.seen.before is None:
                    panel.seen = _beside_the_shop(ctx, actor, panel.seen)
                return
            if panel.kind == "again":
                panel.folder = standing.folder(ctx, actor)
            panel.seen = comparing.compare(ctx, actor, panel.before, panel.after)
    except DeskError as error:
        show_error(error)


def _beside_the_shop(ctx: Context, actor: Actor, seen: Comparison) -> Comparison:
    """Before the first release customers are answered by the shop's own module."""
    found = trying.golden_answers(ctx, actor)
    return replace(seen, answers=tuple(found.changes.values()))


def _look_again(panel: Panel) -> None:
    if panel.seen is not None:
        panel.known = frozenset(panel.seen.changes)
    panel.seen = panel.plan = panel.moved = None
    panel.blocks.clear()
    kb_release_diff.first_page()


def _again_button(panel: Panel) -> None:
    st.button(
        "Look again",
        key="kb_release_look_again",
        icon=":material/refresh:",
        on_click=_look_again,
        args=(panel,),
    )


def _more(
    ctx: Context, actor: Actor, panel: Panel, seen: Comparison
) -> Callable[[int], Sequence[EntryChange]]:
    """What tells the changes further on; each is kept, as what came first is."""

    def tell(offset: int) -> Sequence[EntryChange]:
        if offset not in panel.blocks:
            before = None if seen.unreadable else seen.before
            with st.spinner("Comparing"):
                panel.blocks[offset] = comparing.more(ctx, actor, before, seen.after, offset)
        return panel.blocks[offset]

    return tell


# --- compare ---


def _show_compare(ctx: Context, actor: Actor, panel: Panel, seen: Comparison) -> None:
    before, after = name_of(panel.before, saved=False), name_of(panel.after, saved=True)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.header(f"From {before} to {after}", anchor=False, width="stretch")
        if panel.before is not None and panel.after is not None:
            st.button(
                "Swap",
                key="kb_release_swap",
                type="tertiary",
                icon=":material/swap_horiz:",
                on_click=open_compare,
                args=(panel.after, panel.before),
            )
        elif panel.after is None:
            _again_button(panel)
    st.markdown(kb_release_diff.counts(seen))
    kb_release_diff.show_answers(seen)
    kb_release_diff.show_changes(ctx, seen, _more(ctx, actor, panel, seen))


# --- publish ---


def _show_publish(ctx: Context, actor: Actor, panel: Panel, plan: ReleasePlan) -> None:
    seen = plan.comparison
    st.header(f"Publish release {plan.number}", anchor=False)
    if plan.is_empty:
        st.info(
            f"Release {seen.before} is current and says all that is saved.",
            title="There is nothing to publish",
            icon=":material/check:",
        )
        return
    changes, form_column = st.columns([3, 2], gap="large")
    with form_column, st.container(border=True, key="kb_release_form"):
        _publish_form(ctx, actor, panel, plan)
    with changes:
        _show_seen(ctx, actor, panel, panel.seen or seen)


def _show_seen(ctx: Context, actor: Actor, panel: Panel, seen: Comparison) -> None:
    if seen.unreadable:
        show_problem(
            seen.unreadable,
            "What is saved is shown as if it were all new: publish it, or go back and make an "
            "older release current.",
            calm=True,
        )
    since = (
        f" since release {seen.before}" if seen.before is not None else ": this is the first one"
    )
    st.markdown(f"{kb_release_diff.counts(seen)}{since}")
    new: tuple[EntryChange, ...] = ()
    if panel.known is not None:
        new = tuple(change for change in seen.changes if change not in panel.known)
        if new:
            told = form.plural(len(new), "change")
            st.caption(f":material/fiber_new: {told} you have not seen before, marked below.")
    kb_release_diff.show_answers(seen, "" if seen.before is not None else "The shop today")
    kb_release_diff.show_changes(ctx, seen, _more(ctx, actor, panel, seen), new)


def _publish_form(ctx: Context, actor: Actor, panel: Panel, plan: ReleasePlan) -> None:
    unsaved = drafts().count
    if unsaved:
        told = form.plural(unsaved, "unsaved change")
        st.caption(f":orange[:material/edit:] {told} of yours will not be in it: save first.")
    notes = st.text_area(
        "What is new",
        key=NOTES,
        height=120,
        max_chars=MAX_REASON,
        placeholder="In a sentence or two, for whoever looks at the list of releases",
    )
    if not notes.strip():
        st.button(
            "Write it from the reasons",
            key="kb_release_suggest",
            type="tertiary",
            icon=":material/edit_note:",
            help="What people gave as reasons for their changes since the current release.",
            on_click=_suggest,
            args=(ctx, actor, plan.comparison.before),
        )
    later, due_at = choose_when(ctx, "kb_release_when")
    over = _show_folder(ctx, actor, panel, later=later)
    if over is None:
        return
    label = f"Schedule release {plan.number}" if later else f"Publish release {plan.number}"
    if panel.moved is not None:
        show_error(panel.moved)
        _again_button(panel)
    elif (not later or due_at is not None) and st.button(
        label, type="primary", icon=":material/publish:", key="kb_release_do"
    ):
        if due_at is not None:
            _schedule(ctx, actor, panel, plan, due_at, notes)
        else:
            _do(
                panel,
                f"Publishing release {plan.number}",
                lambda watcher: releases.publish(
                    ctx, actor, plan, notes, over_hand_edits=over, watcher=watcher
                ),
            )


def _suggest(ctx: Context, actor: Actor, before: int | None) -> None:
    try:
        since = releases.release(ctx, actor, before).at if before is not None else None
        sets = history.recent(ctx, actor, rows=_LOOKED_AT).change_sets
    except DeskError as error:
        say_after_rerun(str(error), ":material/warning:")
        return
    given = [one.reason for one in sets if one.reason and (since is None or one.at > since)]
    told = ""
    for reason in dict.fromkeys(reversed(given)):
        longer = f"{told}; {reason}" if told else reason
        if len(longer) > MAX_REASON:
            break
        told = longer
    if told:
        st.session_state[NOTES] = told
    else:
        say_after_rerun("Nobody gave a reason for these changes.", ":material/info:")


def _schedule(
    ctx: Context,
    actor: Actor,
    panel: Panel,
    release: ReleasePlan | int,
    due_at: datetime,
    notes: str = "",
) -> None:
    try:
        with st.spinner("Keeping the release"):
            done = schedule.schedule(ctx, actor, release, due_at, notes)
    except Conflict as error:
        panel.moved = error
        st.rerun()
    except DeskError as error:
        show_error(error)
        return
    close()
    say_after_rerun(
        f"Release {done.release} goes to the shop on {form.when(done.due_at)}. What is saved "
        "from now on is not in it.",
        ":material/schedule:",
    )
    st.rerun()


def _do(panel: Panel, told: str, act: Callable[[Watcher], Activation]) -> None:
    """Publish once: a click that comes while it runs finds it done."""
    if panel.done is None:

        def work(watcher: Watcher) -> None:
            panel.done = act(watcher)

        try:
            to_the_end(told, work)
        except Conflict as error:
            panel.moved = error
            st.rerun()
        except DeskError as error:
            show_error(error)
            return
    done = panel.done
    if done is None:
        return
    close()
    say_after_rerun(*_said(done))
    st.rerun()


def _said(done: Activation) -> tuple[str, str]:
    what = f"Release {done.release} is current"
    if done.problem:
        return f"{what}, but not as it should be for the shop: {done.problem}", ":material/warning:"
    if done.written_at is None:
        return f"{what}. No folder is set to write it to.", ":material/check:"
    commit = f", commit {done.commit[:9]}" if done.commit else ""
    return f"{what} and written to {done.folder}{commit}.", ":material/check:"


def _show_folder(ctx: Context, actor: Actor, panel: Panel, *, later: bool) -> bool | None:
    """What will be written where; None where nothing can be, else whether over hand edits."""
    folder = panel.folder
    if folder is None or folder.state is FolderState.NOT_SET:
        st.caption(
            ":material/info: KB_PUBLISH_DIR names no folder: the release is kept here, and the "
            "shop goes on with what it has."
        )
        return False
    where = form.plain(str(folder.path))
    if folder.state is FolderState.UNUSABLE:
        show_problem(folder.message, folder.hint, calm=True)
        if not later:
            _again_button(panel)
        return False if later else None
    if folder.state is FolderState.EDITED:
        show_problem(folder.message, folder.hint, calm=True)
        import_button(ctx, actor, folder)
        if later:
            return False
        if st.checkbox("Publish over it: what was changed by hand is lost", key=OVER):
            return True
        return None
    commit = "; committed and tagged there" if folder.is_git else ""
    st.caption(f":material/folder: Written to {where}{commit}.")
    return False


def import_button(
    ctx: Context, actor: Actor, folder: Folder, label: str = IMPORT, *, primary: bool = False
) -> None:
    """The way from a hand edit to its preview as an import."""
    if folder.edited is None:
        return
    if st.button(
        label,
        key="kb_release_import",
        icon=":material/upload:",
        type="primary" if primary else "secondary",
    ):
        kb_import.begin(ctx, actor, *folder.edited)


# --- make current again ---


def _show_again(ctx: Context, actor: Actor, panel: Panel, number: int) -> None:
    st.header(f"Make release {number} current", anchor=False)
    changes, form_column = st.columns([3, 2], gap="large")
    with form_column, st.container(border=True, key="kb_release_form"):
        st.caption(
            "The shop gets what this release says. What is saved here stays as it is, and shows "
            "as not published where it differs."
        )
        _again_form(ctx, actor, panel, number)
    with changes:
        if panel.seen is None:
            # The current release can't be read: getting away from it must stay possible.
            st.caption("What it would change can't be told.")
            return
        st.markdown(
            f"{kb_release_diff.counts(panel.seen)} beside {name_of(panel.before, saved=False)}"
        )
        kb_release_diff.show_answers(panel.seen)
        kb_release_diff.show_changes(ctx, panel.seen, _more(ctx, actor, panel, panel.seen))


def _again_form(ctx: Context, actor: Actor, panel: Panel, number: int) -> None:
    later, due_at = choose_when(ctx, "kb_release_again_when")
    reason = ""
    if not later:
        reason = st.text_input(
            "Reason", key=REASON, max_chars=MAX_REASON, placeholder="Why it is to be current"
        )
    over = _show_folder(ctx, actor, panel, later=later)
    if over is None:
        return
    if panel.moved is not None:
        show_error(panel.moved)
        _again_button(panel)
        return
    label = f"Schedule release {number}" if later else f"Make release {number} current"
    if (later and due_at is None) or not st.button(
        label, type="primary", icon=":material/history:", key="kb_release_do"
    ):
        return
    if due_at is not None:
        _schedule(ctx, actor, panel, number, due_at)
    else:
        _do(
            panel,
            f"Making release {number} current",
            lambda watcher: activating.make_current(
                ctx, actor, number, reason, over_hand_edits=over, watcher=watcher
            ),
        )
