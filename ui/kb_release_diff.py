"""What differs between two releases, or between one and what is saved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import streamlit as st

from services.core.context import Context
from services.knowledge.history import EntryChange
from services.knowledge.releasing.model import SHOWN, Comparison
from services.knowledge.sections import part_at, part_of_entry, title_of
from ui import format as form
from ui.kb_answers import names_of, show_change
from ui.kb_entry import show_change as show_entry_change

PAGE = "kb_release_page"
_PAGE_ROWS = 20
_ANSWERS = 20


def first_page() -> None:
    """Another comparison begins at its first page."""
    st.session_state.pop(PAGE, None)


def name_of(number: int | None, *, saved: bool) -> str:
    """How a person calls a side of a comparison.

    Args:
        saved: whether no number means what is saved; nothing at all otherwise.
    """
    if number is None:
        return "what is saved" if saved else "nothing"
    return f"release {number}"


def counts(seen: Comparison) -> str:
    """`12 changed · 3 new · 1 deleted`, or that nothing differs."""
    told = (
        (seen.edited, "changed"),
        (seen.added, "new"),
        (seen.deleted, "deleted"),
        (seen.moved, "moved"),
    )
    found = " · ".join(f"**{form.number(count)}** {what}" for count, what in told if count)
    return found or "Nothing differs."


def show_answers(seen: Comparison, before: str = "") -> None:
    """The golden questions that are answered otherwise; one line where none is.

    Args:
        before: whose answers they were, where it is no release.
    """
    if seen.unreadable:
        st.caption(":material/star: Which golden questions are answered otherwise can't be told.")
        return
    if not seen.asked:
        st.caption(
            ":material/star: No golden questions yet: in “Try it” you save those whose answers "
            "you want to see change."
        )
        return
    if not seen.answers:
        asked = form.plural(seen.asked, "golden question")
        st.caption(f":material/check: {asked}: all are answered the same.")
        return
    count = form.number(len(seen.answers))
    st.markdown(
        f":orange[:material/star:] **{count} of {form.plural(seen.asked, 'golden question')}** "
        f"{'is' if len(seen.answers) == 1 else 'are'} answered otherwise"
    )
    before = before or _sentence(name_of(seen.before, saved=False))
    after = _sentence(name_of(seen.after, saved=True))
    for index, change in enumerate(seen.answers[:_ANSWERS]):
        label = f"**{form.plain(change.question)}** {names_of(change.changed)}"
        with st.expander(label, key=f"kb_release_answer_{index}"):
            if change.note:
                st.caption(form.plain(change.note))
            show_change(change, before, after)
    if len(seen.answers) > _ANSWERS:
        st.caption(f"and {form.number(len(seen.answers) - _ANSWERS)} more.")


def show_changes(
    ctx: Context,
    seen: Comparison,
    more: Callable[[int], Sequence[EntryChange]],
    new: Collection[EntryChange] = (),
) -> None:
    """Entry by entry, grouped by section, page by page.

    Args:
        more: gives the changes from one of them on, where `seen` tells them no more.
        new: those that were not there when the person looked before.
    """
    total = seen.added + seen.edited + seen.deleted
    if not total:
        if seen.moved:
            st.caption("Only the order of entries differs; every text is the same.")
        return
    pages = -(-total // _PAGE_ROWS)
    page = min(int(st.session_state.get(PAGE, 1)), pages)
    block, start = divmod((page - 1) * _PAGE_ROWS, SHOWN)
    told = seen.changes if not block else more(block * SHOWN)
    shown = told[start : start + _PAGE_ROWS]
    section = None
    for change in shown:
        if change.section != section:
            section = change.section
            st.caption(f"**{form.plain(title_of(section) if section else 'Knowledge base')}**")
        part = part_of_entry(change.section, change.key) or part_at(change.section)
        with st.container(border=True):
            if change in new:
                st.badge("new since you looked", icon=":material/fiber_new:", color="orange")
            show_entry_change(part, change, ctx, with_place=True)
    if not shown:
        st.caption("There are fewer changes now: look again.")
    if pages > 1:
        st.pagination(pages, key=PAGE)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
