"""The table of a part's entries: a snapshot is edited, and every edit is kept by row id.

Streamlit keeps what was typed by position. The frame one edits is therefore built once and
left alone until everything typed into it stands in the drafts, by id; then a new frame with
a new key shows what the drafts say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import streamlit as st

from services.knowledge.entries import TEXT, Entry
from services.knowledge.sections import Part, Shape
from services.knowledge.validation import KEY
from ui import format as form
from ui import kb_selected
from ui.kb_drafts import Drafts

_STATE = "kb_grid"
_CHANGED = "changed"
_SELECT = "select"
_STATE_OF = "state"
# Column names of the frame. A field of a record may be called anything, so cells have a sign.
_CELL = "cell:"
_KEY = "key"

ROW_HEIGHT, HEAD_HEIGHT = 33, 37


@dataclass
class Snapshot:
    """The frame that is being edited, and which entry each of its rows is."""

    name: str  # key of the widget
    where: str  # pointer of the part
    drawn: tuple[int, int]  # generations of the drafts that it shows
    chosen: int  # generation of the selection that it shows
    signature: tuple[Any, ...]
    entries: dict[int, Entry]
    ids: list[int]  # row id by position; negative for new entries
    rows: list[dict[str, Any]]
    touched: set[int] = field(default_factory=set)


def column_names(part: Part, entries: tuple[Entry, ...]) -> tuple[str, ...]:
    """Cells that the table has: the fields the registry names, and any others found."""
    if part.shape is not Shape.RECORDS:
        return (TEXT,)
    names = dict.fromkeys(part.field_names)
    for entry in entries:
        names.update(dict.fromkeys(entry.cells))
    return tuple(names)


def fold(drafts: Drafts) -> None:
    """Take what was typed into the grid over into the drafts, by row id.

    Positions outside the snapshot and columns that can't be edited are passed over: a
    hand-made message may name anything. Everything else is checked when it is saved.
    """
    snapshot: Snapshot | None = st.session_state.get(_STATE)
    state = st.session_state.get(snapshot.name) if snapshot else None
    # What was taken back, or written beside the table, is newer than the frame says.
    if snapshot is None or not state or snapshot.drawn != drafts.generations:
        return
    edited = {_position(at, snapshot): cells for at, cells in state["edited_rows"].items()}
    for at in sorted((edited.keys() | snapshot.touched) - {-1}):
        snapshot.touched.add(at)
        row = {**snapshot.rows[at], **_known(edited.get(at) or {}, snapshot)}
        _keep(drafts, snapshot, snapshot.ids[at], row)


def _position(at: Any, snapshot: Snapshot) -> int:
    return at if isinstance(at, int) and 0 <= at < len(snapshot.ids) else -1


def _known(cells: dict[str, Any], snapshot: Snapshot) -> dict[str, Any]:
    allowed = set(snapshot.rows[0]) - {_CHANGED, _STATE_OF} if snapshot.rows else set()
    return {name: "" if v is None else v for name, v in cells.items() if name in allowed}


def _keep(drafts: Drafts, snapshot: Snapshot, number: int, row: dict[str, Any]) -> None:
    cells = {name.removeprefix(_CELL): v for name, v in row.items() if name.startswith(_CELL)}
    if number < 0:
        if number in drafts.new:
            for name, value in {KEY: row[_KEY], **cells}.items():
                drafts.put_new(number, name, value)
        return
    if snapshot.chosen == kb_selected.generation():
        kb_selected.choose(snapshot.where, number, chosen=row[_SELECT] is True)
    entry = snapshot.entries[number]
    for name, value in {KEY: row[_KEY], **cells}.items():
        if number in drafts.entries or value != _stored(entry, name):
            drafts.put(entry, name, value)


def _stored(entry: Entry, name: str) -> str:
    return entry.key if name == KEY else entry.cells.get(name, "")


def show_editor(
    part: Part,
    entries: tuple[Entry, ...],
    drafts: Drafts,
    now: datetime,
    unpublished: frozenset[int] = frozenset(),
) -> None:
    """The table with its unsaved edits in place.

    Args:
        now: for the times in the last column.
        unpublished: entries that the current release does not say like this.
    """
    new = [one for one in drafts.new.values() if one.where == part.pointer]
    signature = (
        part.pointer,
        drafts.generations,
        kb_selected.generation(),
        tuple((entry.id, entry.version) for entry in entries),
        tuple(one.ref for one in new),
        unpublished,
    )
    snapshot: Snapshot | None = st.session_state.get(_STATE)
    if snapshot is None or snapshot.signature != signature:
        snapshot = _take(part, entries, drafts, signature, now, unpublished)
        st.session_state[_STATE] = snapshot
    import pandas as pd

    names = column_names(part, entries)
    frame = pd.DataFrame(
        snapshot.rows,
        index=pd.Index(snapshot.ids, name="id", dtype="int64"),
        columns=[_SELECT, *_order(names, unpublished)],
        dtype="object",
    )
    st.data_editor(
        frame,
        key=snapshot.name,
        hide_index=True,
        num_rows="fixed",
        disabled=[_CHANGED, _STATE_OF],
        column_config=_columns(part, names, (row[_KEY] for row in snapshot.rows)),
        width="stretch",
        height=_height(len(snapshot.ids)),
        alt=f"Entries of {part.title}, editable",
    )


def _take(
    part: Part,
    entries: tuple[Entry, ...],
    drafts: Drafts,
    signature: tuple[Any, ...],
    now: datetime,
    unpublished: frozenset[int],
) -> Snapshot:
    counter = st.session_state.get("kb_grid_counter", 0) + 1
    st.session_state["kb_grid_counter"] = counter
    # An entry that is being edited keeps the base it was first seen with.
    based = {e.id: drafts.entries[e.id].base if e.id in drafts.entries else e for e in entries}
    names = column_names(part, entries)
    ids: list[int] = []
    rows: list[dict[str, Any]] = []
    selected = kb_selected.ids(part.pointer)
    for one in drafts.new.values():
        if one.where == part.pointer:
            ids.append(one.ref)
            rows.append({_SELECT: None, **_row(one.key, one.cells, names, "new", "New")})
    for entry in entries:
        draft = drafts.entries.get(entry.id)
        if draft and draft.deleted:
            continue
        key, cells = drafts.shown(based[entry.id])
        ids.append(entry.id)
        row = _row(key, cells, names, _changed(entry, now), _state(entry, unpublished))
        rows.append({_SELECT: entry.id in selected, **row})
    name = f"kb_grid_{counter}"
    generations = (drafts.generations, kb_selected.generation())
    return Snapshot(name, part.pointer, *generations, signature, based, ids, rows)


def _row(
    key: str, cells: dict[str, str], names: tuple[str, ...], changed: str, state: str
) -> dict[str, str]:
    said = {_CELL + n: cells.get(n, "") for n in names}
    return {_KEY: key, _STATE_OF: state, **said, _CHANGED: changed}


def _order(names: tuple[str, ...], unpublished: frozenset[int]) -> list[str]:
    # Where everything is published, a column that says nothing would only take room.
    marks = [_STATE_OF] if unpublished else []
    return [_KEY, *marks, *(_CELL + name for name in names), _CHANGED]


def _state(entry: Entry, unpublished: frozenset[int]) -> str:
    return "Unpublished" if entry.id in unpublished else ""


def _changed(entry: Entry, now: datetime) -> str:
    return f"{form.when_short(entry.updated_at, now)} · {entry.updated_by}"


def show_table(
    part: Part,
    entries: tuple[Entry, ...],
    now: datetime,
    unpublished: frozenset[int] = frozenset(),
) -> None:
    """The same table for those who only read."""
    import pandas as pd

    names = column_names(part, entries)
    frame = pd.DataFrame(
        [
            _row(e.key, _readable(e), names, _changed(e, now), _state(e, unpublished))
            for e in entries
        ],
        columns=_order(names, unpublished),
    )
    st.dataframe(
        frame,
        key="kb_table",
        hide_index=True,
        column_config=_columns(part, names, (entry.key for entry in entries)),
        width="stretch",
        height=_height(len(entries)),
        alt=f"Entries of {part.title}",
    )


def _readable(entry: Entry) -> dict[str, str]:
    return entry.cells or {TEXT: str(entry.body)}


def _columns(part: Part, names: tuple[str, ...], keys: Iterable[str]) -> dict[str, Any]:
    titles = {one.name: one.title for one in part.fields}
    column = st.column_config.TextColumn
    # What is left beside keys and dates is shared; a column is never too narrow to read.
    longest = max((len(key) for key in keys), default=0)
    wide = max(180, 450 // max(len(names), 1))
    return {
        _SELECT: st.column_config.CheckboxColumn(
            "Select", pinned=True, width=96, help="Chosen entries can be changed together."
        ),
        _STATE_OF: column("State", width=100, help="The current release does not say this yet."),
        _KEY: column("Key", pinned=True, width=min(max(110, 8 * longest + 24), 230)),
        **{_CELL + n: column(titles.get(n, _title(n)), width=wide) for n in names},
        _CHANGED: column("Last change", width=150),
    }


def _title(name: str) -> str:
    return "Text" if name == TEXT else name


def _height(rows: int) -> int:
    return min(max(rows, 2), 16) * ROW_HEIGHT + HEAD_HEIGHT
