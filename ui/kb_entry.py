"""One entry in full: key, long texts, and everything that ever happened to it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.knowledge import history
from services.knowledge.document import Kind
from services.knowledge.entries import TEXT, Entry
from services.knowledge.history import EntryChange
from services.knowledge.sections import Part, Shape
from services.knowledge.validation import KEY
from ui import format as form
from ui.kb_drafts import Drafts, drafts
from ui.kb_grid import fold
from ui.kb_keeping import keep_now
from ui.kb_text import show_difference, show_text

_ACTIONS = {"add": "added", "edit": "changed", "delete": "deleted"}
_KINDS = {
    "bulk": "with others",
    "edit": "",
    "import": "by import",
    "restore": "by a restore",
    "rollback": "by a roll back",
    "undo": "by undo",
}


def field_title(part: Part, name: str) -> str:
    """How a person calls a cell."""
    if name == KEY:
        return "Key"
    if name == TEXT:
        return "Text"
    return next((one.title for one in part.fields if one.name == name), name)


def names_of(part: Part, cells: dict[str, str]) -> list[str]:
    """The cells of an entry in the order a person reads them."""
    if part.shape is Shape.RECORDS:
        return list(dict.fromkeys([*part.field_names, *cells]))
    return list(cells) or [TEXT]


def edit_entry(part: Part, entry: Entry, held: Drafts) -> None:
    """The cells of an entry as text areas; what is typed goes into the drafts."""
    if entry.kind not in (Kind.TEXT, Kind.RECORD):
        st.caption("This is no text; it is kept as it is and exported again.")
        show_text(str(entry.body))
        return
    base = held.entries[entry.id].base if entry.id in held.entries else entry
    key, cells = held.shown(base)
    if part.shape is not Shape.TEXT:
        _line(held, base, entry.id, key)
    for name in names_of(part, cells):
        _area(held, base, entry.id, name, cells.get(name, ""), part)


def edit_new(part: Part, ref: int, held: Drafts) -> None:
    """The cells of an entry that is being added."""
    one = held.new[ref]
    if part.shape is not Shape.TEXT:
        _line(held, None, ref, one.key)
    for name in names_of(part, one.cells):
        _area(held, None, ref, name, one.cells.get(name, ""), part)


def _line(held: Drafts, entry: Entry | None, number: int, key: str) -> None:
    widget = f"kb_key_{number}_{held.generation}"
    _sync(widget, key)
    st.text_input(
        "Key",
        key=widget,
        help="Lower case, words joined by _ or -: that is how the shop looks entries up.",
        on_change=_typed,
        args=(entry, number, KEY, widget),
    )


def _area(held: Drafts, entry: Entry | None, number: int, name: str, text: str, part: Part) -> None:
    height = {Shape.RECORDS: 110, Shape.TEXTS: 260, Shape.TEXT: 420}[part.shape]
    write_cell(held, entry, number, name, text, title=field_title(part, name), height=height)


def write_cell(
    held: Drafts,
    entry: Entry | None,
    number: int,
    name: str,
    text: str,
    *,
    title: str,
    height: int,
    place: str = "",
) -> None:
    """The field in which one cell is written; what is typed goes into the drafts.

    Args:
        entry: what the drafts are based on; None for a new entry.
        text: what the cell says now.
        place: where the field stands, when the page has it a second time; its title stands
            above it then.
    """
    widget = f"kb_cell_{place}{number}_{name}_{held.generation}"
    _sync(widget, text)
    st.text_area(
        form.plain(title),
        key=widget,
        height=height,
        label_visibility="collapsed" if place else "visible",
        on_change=_typed,
        args=(entry, number, name, widget),
    )
    if text != text.strip() and text.strip():
        st.caption("Line breaks and spaces at its beginning and end are kept.")


def _sync(widget: str, value: str) -> None:
    # The same cell may have been edited in the table since. A text with line ends of its own
    # is the same in the browser, which knows only one kind: setting it would move the caret.
    held = st.session_state.get(widget)
    if not isinstance(held, str) or held != str(value).replace("\r\n", "\n"):
        st.session_state[widget] = value


def _typed(entry: Entry | None, number: int, name: str, widget: str) -> None:
    held = drafts()
    fold(held)
    value = st.session_state[widget]
    if entry is None:
        if number in held.new:
            held.put_new(number, name, value)
    else:
        held.put(entry, name, value)
    held.grid_generation += 1
    keep_now()


def show_entry(part: Part, entry: Entry) -> None:
    """An entry for those who only read."""
    if not entry.cells:
        show_text(str(entry.body))
    for name in names_of(part, entry.cells) if entry.cells else ():
        if part.shape is Shape.RECORDS:
            st.caption(form.plain(field_title(part, name)))
        show_text(entry.cells.get(name, ""))


def show_history(
    ctx: Context,
    actor: Actor,
    part: Part,
    entry: Entry,
    beneath: Callable[[EntryChange], None] | None = None,
) -> None:
    """What happened to an entry, newest first, cell by cell.

    Args:
        beneath: draws what can be done with a change, under it.
    """
    for index, change in enumerate(history.history(ctx, actor, entry)):
        if index:
            st.divider()
        show_change(part, change, ctx, with_place=False)
        if beneath:
            beneath(change)


def show_change(part: Part | None, change: EntryChange, ctx: Context, *, with_place: bool) -> None:
    """One change of one entry: who, when, why, and the cells before and after."""
    with st.container(gap="xsmall"):
        _show_change(part, change, ctx, with_place=with_place)


def _show_change(part: Part | None, change: EntryChange, ctx: Context, *, with_place: bool) -> None:
    what = " ".join(filter(None, (_ACTIONS[change.action], _KINDS.get(change.kind, ""))))
    if with_place:
        st.markdown(f"**{form.plain(change.key)}** {what}")
    else:
        st.markdown(
            f"**{form.plain(change.author)}** {what}, {form.age(change.at, ctx.now())}",
            help=form.when(change.at),
        )
        if change.reason:
            st.caption(form.plain(change.reason))
    for one in change.fields:
        if one.field == KEY and change.action != "edit":
            continue
        title = field_title(part, one.field) if part else one.field
        if one.field != TEXT:
            st.caption(form.plain(title))
        show_difference(one.before, one.after)
    if not change.fields:
        st.caption("Only its place among the others.")
