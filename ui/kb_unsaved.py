"""The bar of unsaved changes: what they are, save, discard, and what stands in the way."""

from __future__ import annotations

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.core.errors import DeskError
from services.knowledge import changes
from services.knowledge.changes import EditConflict, NothingToSave
from services.knowledge.ledger import ChangeSet
from services.knowledge.sections import Part
from services.knowledge.validation import MAX_REASON, NotValid, Problem
from ui import format as form
from ui import kb_keeping
from ui.kb_drafts import Drafts
from ui.kb_grid import fold
from ui.kb_listing import place_of, show_list, title_of_cell
from ui.kb_merge import show_clashes
from ui.kb_offer import show_offer
from ui.messages import say_after_rerun, show_error


def show_bar(ctx: Context, actor: Actor, held: Drafts) -> None:
    """How much is unsaved, with Save and Discard; and what waits from elsewhere."""
    kb_keeping.keep(ctx, actor, held)
    show_offer(ctx, actor, held)
    # The place is always there: were it to come and go, everything below would be drawn
    # anew and the cell one is writing in would lose the focus.
    place = st.empty()
    if not held.count:
        return
    with place.container(border=True, key="kb_unsaved"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            _show_count(held)
            reason = st.text_input(
                "Reason",
                placeholder="Reason (optional)",
                max_chars=MAX_REASON,
                label_visibility="collapsed",
                key=f"kb_reason_{held.generation}",
                width=240,
            )
            save = st.button("Save", type="primary", icon=":material/save:", key="kb_save")
            st.button(
                "Discard",
                key="kb_discard",
                help="Takes every unsaved change back. What is stored stays as it is.",
                on_click=_discard,
                args=(held,),
            )
        if save:
            _save(ctx, actor, held, reason)
        if held.problems:
            _show_problems(held)
        if held.clashes:
            show_clashes(ctx, actor, held)
        with st.expander("What is unsaved", key="kb_unsaved_list"):
            show_list(held, lambda number: _take_back(held, number))


def _show_count(held: Drafts) -> None:
    unkept = held.unkept
    with st.container(width="stretch", gap=None):
        st.markdown(
            f":material/edit: **{form.plural(held.count, 'unsaved change')}**",
            help="Not all of it is on the server: see below."
            if unkept
            else "Kept on the server as you type: after a closed tab, a lost connection or a "
            "restart, your next visit offers them. Nobody else sees them before you save.",
        )
        if unkept:
            which = "They are" if unkept == held.count else f"{form.number(unkept)} of them are"
            why = form.plain(held.server.not_kept) or "The server is asked again in a moment."
            st.caption(f":orange[{which} in this tab alone, so leave it open.] {why}")


def _discard(held: Drafts) -> None:
    held.clear()
    say_after_rerun("Discarded; nothing that was stored has changed.", ":material/undo:")


def _take_back(held: Drafts, number: int) -> None:
    fold(held)
    held.drop(number)


def _save(ctx: Context, actor: Actor, held: Drafts, reason: str) -> None:
    held.problems, held.clashes = (), ()
    named = kb_keeping.named(ctx, actor, held)
    try:
        done = changes.save(ctx, actor, held.edits(), reason, change_set_id=named)
    except NotValid as error:
        held.problems = error.problems
    except EditConflict as error:
        held.clashes = error.clashes
    except NothingToSave:
        _done(ctx, actor, held, "Nothing to save: the knowledge base already says exactly this.")
    except DeskError as error:
        show_error(error)
    else:
        _done(ctx, actor, held, " ".join((_said(done), *done.notes)))


def _done(ctx: Context, actor: Actor, held: Drafts, said: str) -> None:
    held.clear()
    kb_keeping.keep(ctx, actor, held)
    say_after_rerun(said)
    st.rerun()


def _said(done: ChangeSet) -> str:
    counts = (("added", done.added), ("changed", done.edited), ("deleted", done.deleted))
    told = ", ".join(f"{count} {what}" for what, count in counts if count)
    return f"Saved: {told or 'nothing'}."


def _show_problems(held: Drafts) -> None:
    count = len(held.problems)
    what = "One cell" if count == 1 else f"{count} cells"
    st.error(
        "Nothing was saved; your changes are still here. Correct these and save again.",
        title=f"{what} can't be saved",
        icon=":material/warning:",
    )
    with st.container(gap="xxsmall"):
        for problem in held.problems:
            _show_problem(problem)


def show_problems_of(part: Part, held: Drafts) -> None:
    """Beneath a part's table: what keeps its rows from being saved, by row and column."""
    for problem in held.problems:
        if problem.section == part.pointer:
            _show_problem(problem, with_place=False)


def _show_problem(problem: Problem, *, with_place: bool = True) -> None:
    title = form.plain(title_of_cell(problem.section, problem.key, problem.field))
    key = f"**{form.plain(problem.key) or 'no key'}**"
    place = place_of(problem.section, problem.key) if with_place else f":material/warning: {key}"
    message = form.plain(problem.message)
    st.markdown(f"- {place}, {title}: {message}" if with_place else f"{place}, {title}: {message}")
