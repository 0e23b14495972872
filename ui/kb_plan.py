"""The preview of an import: what each item would do, and which of them are taken.

A page shows a few of the items, however many there are; what is chosen is kept by their ids.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property

import streamlit as st

from services.knowledge.document import Kind
from services.knowledge.exchange.applying import Meanwhile
from services.knowledge.exchange.choosing import ALL, Choice, taken
from services.knowledge.exchange.faulty import errors_file
from services.knowledge.exchange.model import Fault, Origin
from services.knowledge.exchange.planning import Item, Plan, Sort
from services.knowledge.searching.folding import fold
from services.knowledge.sections import part_at, part_of_entry, title_of
from ui import format as form
from ui.kb_entry import field_title
from ui.kb_text import show_difference

PAGE_ITEMS = 25

_FILTER, _PAGE, _FIND = "kb_plan_filter", "kb_plan_page", "kb_plan_find"
_ALL, _AGAIN, _INVALID = "all", "again", "invalid"
_TITLES = {
    _AGAIN: "Look again",
    _ALL: "All",
    Sort.NEW.value: "New",
    Sort.CHANGED.value: "Changed",
    Sort.REMOVED.value: "Removed",
    Sort.MOVED.value: "Order",
    _INVALID: "Invalid",
}
_BADGES = {
    Sort.NEW: (":material/add:", "green"),
    Sort.CHANGED: (":material/edit:", "blue"),
    Sort.REMOVED: (":material/remove:", "red"),
    Sort.MOVED: (":material/swap_vert:", "gray"),
}


class Pending:
    """An import that somebody looks at: the plan, and what is accepted of it."""

    def __init__(
        self,
        plan: Plan,
        data: bytes,
        choice: Choice = ALL,
        other: frozenset[str] = frozenset(),
        meanwhile: tuple[Meanwhile, ...] = (),
        *,
        rebased: bool = False,
        part: str | None = None,
    ) -> None:
        self.plan = plan
        self.data = data
        self.choice = choice
        self.other = other  # items that say something else than in the preview before
        self.meanwhile = meanwhile
        self.rebased = rebased
        self.part = part  # that a table was read as
        self.turn = 0  # another one draws every tick anew
        self._said: tuple[str, frozenset[str]] = ("", frozenset())

    @property
    def taken(self) -> int:
        """How many items are accepted, wholly or in part."""
        return len(taken(self.plan, self.choice))

    @cached_property
    def found(self) -> dict[str, Sequence[Item]]:
        """The items of each filter."""
        found: dict[str, list[Item]] = defaultdict(list)
        for item in self.plan.items:
            found[item.sort.value].append(item)
            if item.id in self.other:
                found[_AGAIN].append(item)
        return {**found, _ALL: self.plan.items}

    def saying(self, name: str, words: str) -> Sequence[Item]:
        """Items of a filter that say this in their key or a text, before or after."""
        if not words:
            return self.found[name]
        if self._said[0] != words:  # every run of the page asks the same again
            self._said = (words, frozenset(i.id for i in self.plan.items if _says(i, words)))
        return [item for item in self.found[name] if item.id in self._said[1]]

    def choose(self, choice: Choice) -> None:
        """Take this instead, and draw every tick anew."""
        self.choice = choice
        self.turn += 1


def _says(item: Item, words: str) -> bool:
    sides = (side for cell in item.cells for side in (cell.before, cell.after))
    return any(words in fold(text) for text in (item.key, *sides) if text)


def forget() -> None:
    """Begin at the first page of everything again."""
    for name in (_FILTER, _PAGE, _FIND, "kb_import_tables", "kb_import_blanks", "kb_import_part"):
        st.session_state.pop(name, None)


def show(pending: Pending) -> None:
    """Counts, a filter, and a page of what it lets through."""
    plan = pending.plan
    if plan.is_empty and not plan.faults:
        st.info("The knowledge base already says all of this.", icon=":material/check:")
        return
    counts = {name: len(items) for name, items in pending.found.items()}
    counts[_INVALID] = len(plan.faults)
    names = [name for name in _TITLES if counts.get(name) and (name != _ALL or plan.items)]
    if st.session_state.get(_FILTER) not in names:
        st.session_state[_FILTER] = names[0]
    chosen = st.segmented_control(
        "Show",
        names,
        required=True,
        format_func=lambda name: f"{_TITLES[name]} ({form.number(counts[name])})",
        label_visibility="collapsed",
        key=_FILTER,
        on_change=_first_page,
    )
    if plan.unchanged:
        st.caption(
            f"{form.plural(plan.unchanged, 'entry', 'entries')} of the file "
            f"{'is' if plan.unchanged == 1 else 'are'} there already, word for word."
        )
    _show_notes(plan)
    if chosen == _INVALID:
        _show_faults(plan)
    else:
        _show_items(pending, chosen or names[0])


def _first_page() -> None:
    st.session_state[_PAGE] = 1


def _searched(pending: Pending) -> None:
    pending.turn += 1  # the ticks go by their number on the page, where others stand now
    _first_page()


def _show_notes(plan: Plan) -> None:
    notes = [*plan.file.notes, *plan.notes]
    if not notes:
        return
    label = form.plural(len(notes), "thing") + " worth knowing"
    with st.expander(label, icon=":material/info:", key="kb_plan_notes"):
        for note in notes:
            st.caption(form.plain(note))


def _page_of(total: int) -> slice:
    """Which of so many are shown; draws the pages where there are several."""
    pages = -(-total // PAGE_ITEMS)
    number = min(int(st.session_state.get(_PAGE, 1)), max(pages, 1))
    return slice((number - 1) * PAGE_ITEMS, number * PAGE_ITEMS)


def _show_pages(total: int) -> None:
    pages = -(-total // PAGE_ITEMS)
    if pages > 1:
        st.pagination(pages, key=_PAGE)


# --- items ---


def _show_items(pending: Pending, name: str) -> None:
    words = ""
    if len(pending.found[name]) > 1:
        typed = st.text_input(
            "Search the changes",
            placeholder="Search keys and texts",
            icon=":material/search:",
            label_visibility="collapsed",
            max_chars=200,
            key=_FIND,
            on_change=_searched,
            args=(pending,),
            width=320,
        )
        words = fold(typed.strip())
    items = pending.saying(name, words)
    if not items:
        st.caption("No change says this.")
        return
    accepted = sum(1 for item in items if pending.choice.takes(item))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            f"{form.number(accepted)} of {form.number(len(items))} accepted", width="content"
        )
        st.button(
            "Accept all of these",
            key="kb_plan_accept",
            icon=":material/done_all:",
            disabled=accepted == len(items) and not pending.choice.cells,
            on_click=_choose,
            args=(pending, lambda: pending.choice.accepting(item.id for item in items)),
        )
        st.button(
            "Reject all of these",
            key="kb_plan_reject",
            icon=":material/remove_done:",
            disabled=not accepted,
            on_click=_choose,
            args=(pending, lambda: pending.choice.rejecting(item.id for item in items)),
        )
    shown = _page_of(len(items))
    for number, item in enumerate(items[shown], shown.start):
        _show_item(pending, item, f"{pending.turn}_{st.session_state[_FILTER]}_{number}")
    _show_pages(len(items))


def _choose(pending: Pending, choice: Callable[[], Choice]) -> None:
    pending.choose(choice())


def _show_item(pending: Pending, item: Item, key: str) -> None:
    icon, colour = _BADGES[item.sort]
    with st.container(border=True, gap="xxsmall", key=f"kb_item_{key}"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.checkbox(
                _label(item),
                value=pending.choice.takes(item),
                key=f"kb_take_{key}",
                disabled=bool(item.goes_with),
                help="It goes with the entry that it lies in." if item.goes_with else None,
                on_change=_take,
                args=(pending, item, f"kb_take_{key}"),
                width="stretch",
            )
            if where := _origin(item.at):
                st.caption(where, width="content")
            st.badge(_TITLES[item.sort.value], icon=icon, color=colour)
        if item.sort is Sort.MOVED:
            st.caption(
                f"{form.plural(item.moves, 'entry', 'entries')} would stand at another place, in "
                "the order of the file."
            )
        else:
            # In line with the label of the tick above, not with its box.
            with st.container(gap="xxsmall", key=f"kb_cells_{key}"):
                _show_cells(pending, item, key)


def _label(item: Item) -> str:
    if item.sort is Sort.MOVED:
        return form.plain(title_of(item.section))
    part = part_of_entry(item.section, item.key)
    place = title_of(item.section) if item.section else ""
    title = form.plain(
        place if part is None or item.section != part.pointer else title_of(part.pointer)
    )
    return f"{title} / **{form.plain(item.key)}**" if title else f"**{form.plain(item.key)}**"


def _show_cells(pending: Pending, item: Item, key: str) -> None:
    part = part_of_entry(item.section, item.key) or part_at(item.section)
    cells = item.cells
    if not cells:
        empty = item.row is not None and item.row.kind is Kind.GROUP
        st.caption(
            "A place for entries, empty so far." if empty else "Only the order of its fields."
        )
    named = any(one is not None and one.kind is Kind.RECORD for one in (item.entry, item.row))
    refused = pending.choice.rejected_cells(item)
    for number, cell in enumerate(cells):
        title = field_title(part, cell.name) if part is not None and named else cell.name
        if item.by_cell:
            st.checkbox(
                form.plain(title),
                value=cell.name not in refused and item.id not in pending.choice.items,
                key=f"kb_cell_{key}_{number}",
                disabled=item.id in pending.choice.items,
                on_change=_take_cell,
                args=(pending, item, cell.name, f"kb_cell_{key}_{number}"),
            )
        elif named:
            st.caption(form.plain(title))
        show_difference(cell.before, cell.after)


def _take(pending: Pending, item: Item, key: str) -> None:
    if st.session_state[key]:
        pending.choose(pending.choice.accepting([item.id]))
    else:
        pending.choose(pending.choice.rejecting([item.id]))


def _take_cell(pending: Pending, item: Item, name: str, key: str) -> None:
    change = pending.choice.with_cell if st.session_state[key] else pending.choice.without_cell
    pending.choose(change(item.id, name))


def _origin(at: Origin) -> str:
    if not at.row:
        return ""
    sheet = f"{form.plain(at.sheet)}, " if at.sheet else ""
    return f"{sheet}row {at.row}"


# --- what can't be taken ---


def _show_faults(plan: Plan) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            f"{form.plural(len(plan.faults), 'fault')} in the file; what is not listed here can "
            "be imported.",
            width="content",
        )
        st.download_button(
            "Download the errors",
            data=lambda: errors_file(plan).data,
            file_name="import-errors.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            key="kb_plan_errors",
            help="The rows as they are in your file, with a column that says what is wrong.",
        )
    for fault in plan.faults[_page_of(len(plan.faults))]:
        _show_fault(fault)
    _show_pages(len(plan.faults))


def _show_fault(fault: Fault) -> None:
    column = form.plain(fault.at.column or fault.field)
    where = f"column {column}" if column and fault.at.row else column
    place = [_origin(fault.at), where]
    key = f"**{form.plain(fault.key)}**" if fault.key.strip() else ""
    with st.container(border=True, gap="xxsmall"):
        st.markdown(" · ".join(filter(None, [key, *place])) or "The file")
        st.markdown(f":red[:material/error:] {form.plain(fault.message)}")
        if fault.fix:
            st.caption(form.plain(fault.fix))
