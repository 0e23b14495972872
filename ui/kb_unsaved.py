"""The bar of unsaved changes: what they are, save, discard, and what stands in the way."""

from __future__ import annotations

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.core.errors import DeskError
from services.knowledge import changes, entries
from services.knowledge.changes import Clash, EditConflict
from services.knowledge.ledger import ChangeSet
from services.knowledge.sections import Part, part_at, part_of_entry, title_of
from services.knowledge.validation import KEY, MAX_REASON, NotValid, Problem
from ui import format as form
from ui.kb_drafts import Drafts
from ui.kb_entry import field_title
from ui.kb_grid import fold
from ui.kb_text import show_difference, show_text
from ui.messages import say_after_rerun, show_error


def show_bar(ctx: Context, actor: Actor, held: Drafts) -> None:
    """How much is unsaved, with Save and Discard; nothing when nothing is."""
    # The place is always there: were it to come and go, everything below would be drawn
    # anew and the cell one is writing in would lose the focus.
    place = st.empty()
    if not held.count:
        return
    with place.container(border=True, key="kb_unsaved"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(
                f":material/edit: **{form.plural(held.count, 'unsaved change')}**",
                width="stretch",
                help="Kept while you move around in this tab and stay signed in. "
                "Closing or reloading the tab loses them; the browser asks first.",
            )
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
            _show_clashes(ctx, actor, held)
        with st.expander("What is unsaved", key="kb_unsaved_list"):
            _list(held)


def _discard(held: Drafts) -> None:
    held.clear()
    say_after_rerun("Discarded; nothing that was stored has changed.", ":material/undo:")


def _take_back(held: Drafts, number: int) -> None:
    fold(held)
    held.drop(number)


def _save(ctx: Context, actor: Actor, held: Drafts, reason: str) -> None:
    held.problems, held.clashes = (), ()
    try:
        done = changes.save(ctx, actor, held.edits(), reason)
    except NotValid as error:
        held.problems = error.problems
    except EditConflict as error:
        held.clashes = error.clashes
    except DeskError as error:
        show_error(error)
    else:
        held.clear()
        say_after_rerun(" ".join((_said(done), *done.notes)))
        st.rerun()


def _said(done: ChangeSet) -> str:
    counts = (("added", done.added), ("changed", done.edited), ("deleted", done.deleted))
    told = ", ".join(f"{count} {what}" for what, count in counts if count)
    return f"Saved: {told or 'nothing'}."


def _place(section: str, key: str) -> str:
    place = title_of(section) if section else "Knowledge base"
    return f"{form.plain(place)} / **{form.plain(key) or 'no key'}**"


def _title(section: str, key: str, name: str) -> str:
    part = part_of_entry(section, key) or part_at(section)
    if part is not None:
        return field_title(part, name)
    return {"entry": "the whole entry", KEY: "Key"}.get(name, name.capitalize())


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
    title = form.plain(_title(problem.section, problem.key, problem.field))
    key = f"**{form.plain(problem.key) or 'no key'}**"
    place = _place(problem.section, problem.key) if with_place else f":material/warning: {key}"
    message = form.plain(problem.message)
    st.markdown(f"- {place}, {title}: {message}" if with_place else f"{place}, {title}: {message}")


def _show_clashes(ctx: Context, actor: Actor, held: Drafts) -> None:
    who = form.plain(held.clashes[0].who or "Somebody else")
    st.warning(
        "Nothing of yours was saved. Choose for each cell, then save again.",
        title=f"{who} changed the same while you were editing",
        icon=":material/group:",
    )
    for index, clash in enumerate(held.clashes):
        with st.container(border=True, key=f"kb_clash_{index}"):
            _show_clash(ctx, actor, held, index, clash)


def _show_clash(ctx: Context, actor: Actor, held: Drafts, index: int, clash: Clash) -> None:
    title = form.plain(_title(clash.section, clash.key, clash.field))
    st.markdown(f"{_place(clash.section, clash.key)}, {title}")
    base, theirs, mine = st.columns(3)
    with base:
        st.caption("As you first saw it")
        show_text(clash.base or "")
    with theirs:
        when = f", {form.age(clash.at, ctx.now())}" if clash.at else ""
        st.caption(f"Theirs ({form.plain(clash.who)}{when})")
        if clash.theirs is None:
            st.caption("(deleted)")
        else:
            show_difference(clash.base, clash.theirs)
    with mine:
        st.caption("Yours")
        if clash.mine is None:
            st.caption("(deleted)")
        else:
            show_difference(clash.base, clash.mine)
    with st.container(horizontal=True, gap="small"):
        for label, keep in (("Keep theirs", False), ("Keep mine", True)):
            st.button(
                label,
                key=f"kb_clash_{index}_{'mine' if keep else 'theirs'}",
                on_click=_settle,
                args=(ctx, actor, held, clash, keep),
            )


def _settle(ctx: Context, actor: Actor, held: Drafts, clash: Clash, mine: bool) -> None:
    fold(held)
    now = entries.several(ctx, actor, [clash.entry_id]).get(clash.entry_id)
    held.settle(clash, now, mine=mine)
    held.clashes = tuple(other for other in held.clashes if other != clash)
    held.generation += 1


def _list(held: Drafts) -> None:
    with st.container(gap="xsmall"):
        _list_edited(held)
        _list_new(held)


def _list_edited(held: Drafts) -> None:
    for number, draft in held.entries.items():
        base = draft.base
        _head(held, number, _place(base.section, base.key), "deleted" if draft.deleted else "")
        if draft.deleted:
            continue
        if draft.key != base.key:
            show_difference(base.key, draft.key)
        for name, value in draft.cells.items():
            if len(base.cells) > 1:
                st.caption(form.plain(_title(base.section, base.key, name)))
            show_difference(base.cells.get(name, ""), str(value))


def _list_new(held: Drafts) -> None:
    for number, one in held.new.items():
        if not one.is_blank:
            _head(held, number, _place(one.section, one.key), "new")
            for text in one.cells.values():
                if text:
                    show_difference(None, text)


def _head(held: Drafts, number: int, place: str, mark: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"{place} {mark}", width="stretch")
        st.button(
            "Take back",
            key=f"kb_back_{number}",
            type="tertiary",
            icon=":material/undo:",
            on_click=_take_back,
            args=(held, number),
        )
