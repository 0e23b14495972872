"""Several entries at once: which are chosen, what is done with them, and how it will look."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import DeskError
from services.knowledge import browsing, bulk
from services.knowledge.bulk import Operation, Plan, Planned, Remove, Replace, SetText
from services.knowledge.changes import EditConflict
from services.knowledge.entries import TEXT, Entry, Filter
from services.knowledge.sections import Part, Shape
from services.knowledge.validation import MAX_REASON, MAX_TEXT, NotValid
from ui import dialogs, kb_place, kb_selected
from ui import format as form
from ui.kb_drafts import drafts
from ui.kb_entry import field_title
from ui.kb_grid import fold
from ui.kb_text import show_difference
from ui.messages import say_after_rerun, show_error
from ui.session import guard

_DIALOG = "kb_bulk"
_PLAN = "kb_bulk_plan"
_SHOWN = 20
_SET, _REPLACE, _DELETE, _MOVE = "set", "replace", "delete", "move"
_WAYS = {
    _REPLACE: ("Find and replace", ":material/find_replace:"),
    _SET: ("Set a field", ":material/edit_note:"),
    _MOVE: ("Move", ":material/swap_vert:"),
    _DELETE: ("Delete", ":material/delete:"),
}


def show_bar(part: Part, page: tuple[Entry, ...], search: str, only: Filter, total: int) -> None:
    """How many entries are chosen, and what can be done with them together.

    Args:
        page: the entries that the table shows.
        search: what is searched for, with which filter, and how many that finds.
    """
    chosen = kb_selected.ids(part.pointer)
    st.markdown(f"**{form.plural(len(chosen), 'entry', 'entries')} chosen**", width="content")
    for way, (label, icon) in _WAYS.items():
        st.button(
            label,
            icon=icon,
            key=f"kb_bulk_{way}",
            on_click=_open,
            args=(way, part.pointer),
        )
    if len(chosen) < total:
        offer_all(part, page, search, only, total)
    st.button(
        "Choose none",
        type="tertiary",
        key="kb_choose_none",
        on_click=_choose,
        args=(part.pointer, ()),
    )
    for way in _WAYS:
        if dialogs.is_open(_DIALOG, way, part.pointer):
            _DIALOGS[way](part, tuple(sorted(chosen)))


def offer_all(part: Part, page: tuple[Entry, ...], search: str, only: Filter, total: int) -> None:
    """The buttons that choose every entry of the page, or everything that is found."""
    if total > len(page):
        st.button(
            "Choose this page",
            type="tertiary",
            icon=":material/check_box:",
            key="kb_choose_page",
            on_click=_choose,
            args=(part.pointer, tuple(one.id for one in page)),
        )
    few = min(total, bulk.MAX_ENTRIES)
    which = f"the first {form.number(few)}" if few < total else f"all {form.number(total)}"
    found = " found" if search or only != Filter() else ""
    st.button(
        f"Choose {which}{found}",
        type="tertiary",
        icon=":material/select_all:",
        key="kb_choose_all",
        on_click=_choose_found,
        args=(part.pointer, search, only),
    )


def _choose(where: str, ids: tuple[int, ...]) -> None:
    fold(drafts())
    kb_selected.put(where, ids)


def _choose_found(where: str, search: str, only: Filter) -> None:
    ctx, actor = guard(Permission.KB_EDIT)
    _choose(where, browsing.ids_of(ctx, actor, where, search=search, only=only)[: bulk.MAX_ENTRIES])


def _open(way: str, where: str) -> None:
    fold(drafts())
    st.session_state.pop(_PLAN, None)
    dialogs.open_dialog(_DIALOG, way, where)


@st.dialog("Find and replace", width="large", on_dismiss=dialogs.close)
def _replace(part: Part, ids: tuple[int, ...]) -> None:
    ctx, actor = guard(Permission.KB_EDIT)
    dialogs.leave_when_closed(_DIALOG, _REPLACE, part.pointer)
    left, right = st.columns(2)
    find = left.text_input("Find", key="kb_bulk_find", max_chars=bulk.MAX_FIND)
    by = right.text_input("Replace by", key="kb_bulk_by", max_chars=bulk.MAX_FIND)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        names = ["", *part.field_names] if part.shape is Shape.RECORDS else [""]
        field = ""
        if len(names) > 1:
            field = st.selectbox(
                "In",
                names,
                format_func=lambda one: field_title(part, one) if one else "All fields",
                label_visibility="collapsed",
                key="kb_bulk_in",
                width=220,
            )
        match = st.checkbox("Upper and lower case count", key="kb_bulk_case")
    if not find:
        st.caption(f"Looks through {form.plural(len(ids), 'chosen entry', 'chosen entries')}.")
        return
    _show_and_save(ctx, actor, part, ids, Replace(find, by, field or "", match))


@st.dialog("Set a field", width="large", on_dismiss=dialogs.close)
def _set(part: Part, ids: tuple[int, ...]) -> None:
    ctx, actor = guard(Permission.KB_EDIT)
    dialogs.leave_when_closed(_DIALOG, _SET, part.pointer)
    names = list(part.field_names) if part.shape is Shape.RECORDS else [TEXT]
    field = names[0]
    if len(names) > 1:
        field = st.segmented_control(
            "Field",
            names,
            default=names[0],
            required=True,
            format_func=lambda one: field_title(part, one),
            key="kb_bulk_field",
        )
    text = st.text_area("Text", key="kb_bulk_text", height=120, max_chars=MAX_TEXT)
    empty = st.checkbox("Only where it is empty", value=True, key="kb_bulk_empty")
    _show_and_save(ctx, actor, part, ids, SetText(field or names[0], text, empty))


@st.dialog("Delete together", icon=":material/delete:", width="large", on_dismiss=dialogs.close)
def _delete(part: Part, ids: tuple[int, ...]) -> None:
    ctx, actor = guard(Permission.KB_EDIT)
    dialogs.leave_when_closed(_DIALOG, _DELETE, part.pointer)
    st.caption("They go to the bin, from which each of them can come back.")
    _show_and_save(ctx, actor, part, ids, Remove())


@st.dialog("Move together", icon=":material/swap_vert:", on_dismiss=dialogs.close)
def _move(part: Part, ids: tuple[int, ...]) -> None:
    ctx, actor = guard(Permission.KB_EDIT)
    dialogs.leave_when_closed(_DIALOG, _MOVE, part.pointer)
    chosen = browsing.chosen(ctx, actor, ids)
    st.caption(
        f"{form.plural(len(chosen), 'entry', 'entries')} of {form.plain(part.title)}; they keep "
        "their order among each other and come to stand together."
    )
    versions = {one.id: one.version for one in chosen}
    kb_place.show_buttons(ctx, actor, drafts(), part, versions, "kb_bulk_place")
    st.button("Done", key="kb_bulk_done", on_click=dialogs.close)


_DIALOGS: Mapping[str, Callable[[Part, tuple[int, ...]], None]] = {
    _SET: _set,
    _REPLACE: _replace,
    _DELETE: _delete,
    _MOVE: _move,
}


def _show_and_save(
    ctx: Context, actor: Actor, part: Part, ids: tuple[int, ...], operation: Operation
) -> None:
    """What would change, and the button that does exactly that."""
    held: Plan | None = st.session_state.get(_PLAN)
    fresh = held is None or held.operation != operation
    try:
        plan = bulk.plan(browsing.chosen(ctx, actor, ids), operation) if fresh or not held else held
    except DeskError as error:
        show_error(error)
        return
    # What was seen is what is done: the plan stays until something else is asked for.
    st.session_state[_PLAN] = plan
    _show_plan(part, plan)
    if not plan.planned or plan.problems:
        return
    mine = {one.entry.id for one in plan.planned} & drafts().entries.keys()
    if mine:
        st.warning(
            f"{form.plural(len(mine), 'of these entries has', 'of these entries have')} unsaved "
            "changes of yours. They stay; where both say something of one cell, you choose when "
            "you save them.",
            icon=":material/edit:",
        )
    reason = st.text_input(
        "Reason", placeholder="Reason (optional)", max_chars=MAX_REASON, key="kb_bulk_reason"
    )
    count = form.plural(len(plan.planned), "entry", "entries")
    deletes = isinstance(operation, Remove)
    with st.container(horizontal=True, gap="small"):
        clicked = st.button(
            f"{'Delete' if deletes else 'Change'} {count}",
            type="primary",
            key="kb_bulk_do",
        )
        st.button("Cancel", key="kb_bulk_cancel", on_click=dialogs.close)
    if clicked and not fresh:
        _save(ctx, actor, part, plan, reason)


def _save(ctx: Context, actor: Actor, part: Part, plan: Plan, reason: str) -> None:
    try:
        done = bulk.apply(ctx, actor, plan, reason)
    except EditConflict as error:
        st.session_state.pop(_PLAN, None)
        first = error.clashes[0]
        st.error(
            "Cancel and open this again: the preview then shows what they wrote.",
            title=f"{form.plain(first.who or 'Somebody')} changed {form.plain(first.key)} since "
            "you looked; nothing was changed",
            icon=":material/group:",
        )
        return
    except DeskError as error:
        st.session_state.pop(_PLAN, None)
        if isinstance(error, NotValid):
            _show_problems(part, Plan(plan.operation, (), 0, error.problems))
        else:
            show_error(error)
        return
    st.session_state.pop(_PLAN, None)
    kb_selected.put(part.pointer)
    dialogs.close()
    what = "deleted" if done.deleted else "changed"
    count = form.plural(done.deleted or done.edited, "entry", "entries")
    merged = f" {done.notes[0]}" if done.notes else ""
    say_after_rerun(f"{count} {what} in one change, which History takes back.{merged}")
    st.rerun()


def _show_plan(part: Part, plan: Plan) -> None:
    st.markdown(_summary(plan))
    if plan.problems:
        _show_problems(part, plan)
    shown = plan.planned[:_SHOWN]
    if not shown:
        return
    height = 320 if len(shown) > 3 else "content"
    with st.container(height=height, border=True, gap="small", key="kb_bulk_preview"):
        for one in shown:
            _show_one(part, one)
        if len(plan.planned) > _SHOWN:
            st.caption(f"and {form.number(len(plan.planned) - _SHOWN)} more entries.")


def _summary(plan: Plan) -> str:
    entries = form.plural(len(plan.planned), "entry", "entries")
    if isinstance(plan.operation, Remove):
        told = f"**{entries}** will be deleted"
    elif isinstance(plan.operation, Replace):
        found = form.plural(plan.hits, "place")
        told = f"Found in **{found}**, in **{entries}**" if plan.hits else "**Found nowhere**"
    else:
        told = f"**{entries}** will change" if plan.planned else "**Nothing would change**"
    if plan.unchanged and not isinstance(plan.operation, Remove):
        told += f"; {form.number(plan.unchanged)} stay as they are"
    return f"{told}."


def _show_one(part: Part, one: Planned) -> None:
    with st.container(gap="xxsmall"):
        st.markdown(f"**{form.plain(one.entry.key)}**")
        if not one.after:
            beginning = next(iter(one.entry.cells.values()), "")
            show_difference(beginning[:400], None)
        for name, text in one.after.items():
            if part.shape is Shape.RECORDS:
                st.caption(form.plain(field_title(part, name)))
            show_difference(one.entry.cells.get(name, ""), text)


def _show_problems(part: Part, plan: Plan) -> None:
    st.error(
        "Choose other entries or another text; nothing is changed until all of it fits.",
        title=f"{form.plural(len(plan.problems), 'cell')} could not be saved like this",
        icon=":material/warning:",
    )
    with st.container(gap="xxsmall"):
        for problem in plan.problems[:_SHOWN]:
            title = form.plain(field_title(part, problem.field))
            message = form.plain(problem.message)
            st.markdown(f"- **{form.plain(problem.key)}**, {title}: {message}")
