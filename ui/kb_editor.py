"""The text editor: a long text on the left, what the shop makes of it on the right."""

from __future__ import annotations

import streamlit as st

from services.core.access import Permission
from services.knowledge.entries import TEXT, Entry
from services.knowledge.sections import Part
from ui import dialogs, kb_entry
from ui import format as form
from ui.kb_drafts import Drafts, drafts
from ui.kb_text import show_preview
from ui.session import guard

_DIALOG = "kb_editor"
_HEIGHT = 466


def offer(part: Part, entry: Entry | int, held: Drafts) -> None:
    """The button that opens an entry's texts in full, and what it opens.

    Args:
        entry: what is stored, or the number of a new entry.
    """
    number = entry if isinstance(entry, int) else entry.id
    st.button(
        "Write in full",
        icon=":material/open_in_full:",
        type="tertiary",
        key="kb_write",
        help="A large field, with a preview beside it.",
        on_click=dialogs.open_dialog,
        args=(_DIALOG, number),
    )
    if dialogs.is_open(_DIALOG, number):
        _dialog(part, entry)


@st.dialog("Write in full", icon=":material/edit_note:", width="large", on_dismiss=dialogs.close)
def _dialog(part: Part, entry: Entry | int) -> None:
    guard(Permission.KB_EDIT)
    number = entry if isinstance(entry, int) else entry.id
    dialogs.leave_when_closed(_DIALOG, number)
    held = drafts()
    if isinstance(entry, int) and entry not in held.new:
        st.caption("This entry is not there any more.")
        return
    key, cells = held.shown(entry) if isinstance(entry, Entry) else _new(held, number)
    names = kb_entry.names_of(part, cells)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{form.plain(key) or 'New entry'}**", width="content")
        name = _choose_field(part, names, number) if len(names) > 1 else names[0]
    left, right = st.columns(2, gap="medium")
    with left:
        _field(part, entry, held, name, cells.get(name, ""), _HEIGHT, "full_")
    with right:
        show_preview(_stored(held, entry, name), cells.get(name, ""), key="kb_write_view")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("Done", type="primary", key="kb_write_done", on_click=dialogs.close)
        st.caption("Kept with your unsaved changes; Save on the page stores it.")


def _choose_field(part: Part, names: list[str], number: int) -> str:
    chosen = st.segmented_control(
        "Field",
        names,
        default=names[0],
        required=True,
        format_func=lambda one: form.plain(kb_entry.field_title(part, one)),
        label_visibility="collapsed",
        key=f"kb_write_field_{number}",
    )
    return chosen or names[0]


def edit_single(part: Part, entry: Entry | int, held: Drafts) -> None:
    """A part that is one text: its field, and the preview beside it."""
    if isinstance(entry, Entry) and TEXT not in entry.cells:
        kb_entry.edit_entry(part, entry, held)  # no text; it says so
        return
    cells = held.shown(entry)[1] if isinstance(entry, Entry) else _new(held, entry)[1]
    left, right = st.columns(2, gap="medium")
    with left:
        _field(part, entry, held, TEXT, cells[TEXT], _HEIGHT, "single_")
    with right:
        show_preview(_stored(held, entry, TEXT), cells[TEXT], key="kb_single_view")


def _field(
    part: Part, entry: Entry | int, held: Drafts, name: str, text: str, height: int, place: str
) -> None:
    number = entry if isinstance(entry, int) else entry.id
    title = kb_entry.field_title(part, name)
    base = _base(held, entry)
    kb_entry.write_cell(held, base, number, name, text, title=title, height=height, place=place)


def _base(held: Drafts, entry: Entry | int) -> Entry | None:
    if isinstance(entry, int):
        return None
    return held.entries[entry.id].base if entry.id in held.entries else entry


def _stored(held: Drafts, entry: Entry | int, name: str) -> str | None:
    base = _base(held, entry)
    return base.cells.get(name, "") if base else None


def _new(held: Drafts, number: int) -> tuple[str, dict[str, str]]:
    return held.new[number].key, held.new[number].cells
