"""What two people changed at once: base, theirs and mine side by side, and a text of both."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from services.core.access import Actor
from services.core.context import Context
from services.knowledge import entries
from services.knowledge.changes import Clash
from services.knowledge.drafting.model import EntryDraft
from services.knowledge.drafting.weaving import weave
from services.knowledge.entries import Entry
from services.knowledge.validation import KEY
from ui import format as form
from ui.kb_drafts import WHOLE, Drafts
from ui.kb_grid import fold
from ui.kb_listing import place_of, title_of_cell
from ui.kb_text import show_difference, show_text

_LONG, _BOX_HEIGHT = 700, 320
_SHOWN = 20
"""Clashes at once; the others follow when these are settled, or all are at once."""


def show_clashes(ctx: Context, actor: Actor, held: Drafts) -> None:
    """Everything that two people changed at once, each to be decided."""
    names = list(dict.fromkeys(clash.who or "Somebody else" for clash in held.clashes))
    who = form.plain(" and ".join(names[:2]) + (" and others" if len(names) > 2 else ""))
    st.warning(
        "Nothing of yours was saved. Choose for each below, then save again.",
        title=f"{who} changed the same while you were editing",
        icon=":material/group:",
    )
    now = entries.several(ctx, actor, {clash.entry_id for clash in held.clashes})
    if len(held.clashes) > 1:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{len(held.clashes)} places**", width="content")
            for label, name, mine in (
                ("Keep all theirs", "theirs", False),
                ("Keep all mine", "mine", True),
            ):
                st.button(
                    label,
                    key=f"kb_clash_all_{name}",
                    on_click=_settle,
                    args=(ctx, actor, held, held.clashes, mine),
                )
    for index, clash in enumerate(_one_for_each_gone(held.clashes, now)[:_SHOWN]):
        with st.container(border=True, key=f"kb_clash_{index}"):
            _show_clash(ctx, actor, held, index, clash, now.get(clash.entry_id))
    if len(held.clashes) > _SHOWN:
        st.caption(f"and {len(held.clashes) - _SHOWN} more, when these are settled")


def _one_for_each_gone(clashes: Sequence[Clash], now: dict[int, Entry]) -> list[Clash]:
    # An entry that was deleted is one question, however many of its cells were changed.
    told: set[int] = set()
    found = []
    for clash in clashes:
        if clash.entry_id not in now:
            if clash.entry_id in told:
                continue
            told.add(clash.entry_id)
        found.append(clash)
    return found


def _show_clash(
    ctx: Context, actor: Actor, held: Drafts, index: int, clash: Clash, now: Entry | None
) -> None:
    draft = held.entries.get(clash.entry_id)
    merged = ""
    if now is None:
        _show_gone(clash, draft)
        labels = ("Let it go", "Keep mine as a new entry")
    elif clash.field == WHOLE:
        _show_delete(ctx, clash, draft, now)
        labels = ("Keep theirs", "Delete it all the same")
    else:
        _show_cell(ctx, clash)
        labels = ("Keep theirs", "Keep mine")
        if _can_be_woven(clash):
            merged = _show_merged(held, clash)
    with st.container(horizontal=True, gap="small"):
        if merged:
            st.button(
                "Use the merged text",
                type="primary",
                icon=":material/merge:",
                key=f"kb_clash_{index}_merged",
                on_click=_use_merged,
                args=(ctx, actor, held, clash, merged),
            )
        for label, mine in zip(labels, (False, True), strict=True):
            st.button(
                label,
                key=f"kb_clash_{index}_{'mine' if mine else 'theirs'}",
                on_click=_settle,
                args=(ctx, actor, held, (clash,), mine),
            )


def _show_cell(ctx: Context, clash: Clash) -> None:
    title = form.plain(title_of_cell(clash.section, clash.key, clash.field))
    st.markdown(f"{place_of(clash.section, clash.key)}, {title}")
    base, theirs, mine = st.columns(3)
    with base, _box(clash):
        st.caption("As you first saw it")
        show_text(clash.base or "")
    with theirs, _box(clash):
        when = f", {form.age(clash.at, ctx.now())}" if clash.at else ""
        st.caption(f"Theirs ({form.plain(clash.who)}{when})")
        if clash.theirs is None:
            st.caption("(deleted)")
        else:
            show_difference(clash.base, clash.theirs)
    with mine, _box(clash):
        st.caption("Yours")
        if clash.mine is None:
            st.caption("(deleted)")
        else:
            show_difference(clash.base, clash.mine)


def _box(clash: Clash) -> DeltaGenerator:
    # Long texts scroll each beside the others, so that what is to be decided stays in sight.
    texts = (clash.base, clash.theirs, clash.mine)
    if max(len(str(text or "")) for text in texts) > _LONG:
        return st.container(height=_BOX_HEIGHT, border=False)
    return st.container()


def _can_be_woven(clash: Clash) -> bool:
    texts = (clash.theirs, clash.mine)
    return clash.field != KEY and all(isinstance(text, str) and text for text in texts)


def _show_merged(held: Drafts, clash: Clash) -> str:
    """The proposal, to be edited; gives the key of its field."""
    woven = weave(clash.base or "", clash.theirs or "", clash.mine or "")
    widget = f"kb_merged_{clash.entry_id}_{clash.field}_{held.generation}"
    lines = woven.text.count("\n") + len(woven.text) // 110
    st.text_area(
        "The merged text",
        woven.text,
        key=widget,
        height=min(max(90, 24 * lines + 60), 360),
        help="To be edited as you like. Nothing is saved before you press Save above.",
    )
    if woven.is_clean:
        st.caption(":green[:material/join_inner: You changed different words: both are in it.]")
    else:
        where = "In one place" if woven.collisions == 1 else f"In {woven.collisions} places"
        st.caption(
            f":orange[:material/join_inner: {where} you both changed the same words: theirs "
            "stand first, then yours. Make one of them.]"
        )
    return widget


def _show_gone(clash: Clash, draft: EntryDraft | None) -> None:
    who = form.plain(clash.who or "Somebody")
    st.markdown(f"{place_of(clash.section, clash.key)} was deleted by {who}")
    if draft is None:
        return
    st.caption("Yours")
    if draft.key != draft.base.key:
        show_difference(draft.base.key, str(draft.key))
    for name, value in draft.cells.items():
        if len(draft.base.cells) > 1:
            st.caption(form.plain(title_of_cell(draft.base.section, draft.base.key, name)))
        show_difference(draft.base.cells.get(name, ""), str(value))


def _show_delete(ctx: Context, clash: Clash, draft: EntryDraft | None, now: Entry) -> None:
    when = f" {form.age(clash.at, ctx.now())}" if clash.at else ""
    st.markdown(
        f"{place_of(now.section, now.key)}: you deleted it, and {form.plain(clash.who)} changed "
        f"it{when}"
    )
    if draft is None:
        return
    st.caption("What they changed")
    if draft.base.key != now.key:
        show_difference(draft.base.key, now.key)
    for name in dict.fromkeys([*draft.base.cells, *now.cells]):
        before, after = draft.base.cells.get(name), now.cells.get(name)
        if before != after:
            if len(now.cells) > 1:
                st.caption(form.plain(title_of_cell(now.section, now.key, name)))
            show_difference(before, after)


def _settle(ctx: Context, actor: Actor, held: Drafts, clashes: Sequence[Clash], mine: bool) -> None:
    fold(held)
    now = entries.several(ctx, actor, {clash.entry_id for clash in clashes})
    for clash in clashes:
        held.settle(clash, now.get(clash.entry_id), mine=mine)
    _settled(held, clashes, now)


def _use_merged(ctx: Context, actor: Actor, held: Drafts, clash: Clash, widget: str) -> None:
    fold(held)
    now = entries.several(ctx, actor, [clash.entry_id])
    text = str(st.session_state.get(widget) or "")
    held.settle(clash, now.get(clash.entry_id), mine=True, text=text)
    _settled(held, (clash,), now)


def _settled(held: Drafts, clashes: Sequence[Clash], now: dict[int, Entry]) -> None:
    gone = {clash.entry_id for clash in clashes if clash.entry_id not in now}
    held.clashes = tuple(
        one for one in held.clashes if one not in clashes and one.entry_id not in gone
    )
    held.generation += 1


def show_moved_on(ctx: Context, entry: Entry, held: Drafts) -> None:
    """At an entry one is editing: somebody changed it since, and what a save will do."""
    draft = held.entries.get(entry.id)
    # Its place is always there: the field one writes in must not be drawn anew for it.
    place = st.container(gap=None, key="kb_moved_on")
    if draft is None or not moved_on(draft, entry):
        return
    who, when = form.plain(entry.updated_by), form.age(entry.updated_at, ctx.now())
    then = (
        "It is what you changed too: your save will ask."
        if meets(draft, entry)
        else "Your save will merge both."
    )
    place.caption(f":orange[:material/group: {who} changed this {when}.] {then}")


def show_moved_in(ctx: Context, found: Sequence[Entry], held: Drafts) -> None:
    """Beneath a table: the same for its rows, by key."""
    moved = [one for one in found if one.id in held.entries and moved_on(held.entries[one.id], one)]
    for entry in moved[:3]:
        who, when = form.plain(entry.updated_by), form.age(entry.updated_at, ctx.now())
        asks = meets(held.entries[entry.id], entry)
        then = "your save will ask" if asks else "your save will merge both"
        st.caption(
            f":orange[:material/group: {who} changed {form.plain(entry.key)} {when};] {then}."
        )
    if len(moved) > 3:
        st.caption(f"and {len(moved) - 3} more of these rows")


def moved_on(draft: EntryDraft, now: Entry) -> bool:
    """Whether the stored entry says something else than the person saw."""
    return (draft.base.key, draft.base.cells) != (now.key, now.cells)


def meets(draft: EntryDraft, now: Entry) -> bool:
    """Whether what others changed is what this draft changes too."""
    base = draft.base
    if draft.deleted:
        return True
    if draft.key not in (base.key, now.key) and base.key != now.key:
        return True
    return any(
        base.cells.get(name, "") != now.cells.get(name, "") != value
        for name, value in draft.cells.items()
    )
