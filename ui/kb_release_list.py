"""Every release, newest first, and what one does with one of them."""

from __future__ import annotations

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.knowledge.releasing import releases
from services.knowledge.releasing.model import Release
from services.knowledge.releasing.status import Status
from ui import format as form
from ui import kb_release_open, kb_rollback
from ui.kb_release_diff import name_of
from ui.tables import on_phone

_PAGE = "kb_releases_page"
_SAVED = 0
"""What is saved, among the numbers of releases that one can compare with."""


def show_list(ctx: Context, actor: Actor, found: Status) -> None:
    """Releases, newest first; a chosen one opens beside the list."""
    page = int(st.session_state.get(_PAGE, 1))
    held = releases.recent(ctx, actor, page=page)
    if not held.total:
        return
    st.header("All releases", anchor=False)
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(key="list_of_releases"):
        chosen = _table(ctx, held.releases, page)
        pages = -(-held.total // releases.PAGE_ROWS)
        if pages > 1:
            st.pagination(pages, key=_PAGE)
        if chosen is None:
            st.caption("Choose a row to compare it, take it along, or make it current again.")
    with right, st.container(key="chosen_release" if chosen else "nothing_chosen"):
        if chosen is None:
            st.empty()
        else:
            _show(ctx, actor, found, chosen, held.total)


def _table(ctx: Context, shown: tuple[Release, ...], page: int) -> Release | None:
    now, zone = ctx.now(), form.viewer_zone()
    columns = {
        "Release": [f"{one.number}{', current' if one.is_current else ''}" for one in shown],
        "When": [form.when_short(one.at, now, zone) for one in shown],
        "Who": [one.author for one in shown],
        "What is new": [" ".join(one.notes.split()) for one in shown],
        "Changes": [_counts(one) for one in shown],
    }
    if on_phone():
        del columns["Who"], columns["Changes"]
    current = next((one.number for one in shown if one.is_current), 0)
    table = st.dataframe(
        columns,
        # Rows are chosen by position: a list with a newer row is another table.
        key=f"kb_releases_{page}_{shown[0].number}_{current}",
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        width="stretch",
        height=min(len(shown), 20) * 33 + 37,
        alt="Releases of the knowledge base, newest first",
    )
    rows = table["selection"]["rows"]
    return shown[rows[0]] if rows and rows[0] < len(shown) else None


def _counts(one: Release) -> str:
    counts = (("new", one.added), ("changed", one.edited), ("deleted", one.deleted))
    return ", ".join(f"{form.number(count)} {what}" for what, count in counts if count) or "order"


def _show(ctx: Context, actor: Actor, found: Status, one: Release, total: int) -> None:
    with st.container(border=True, key="kb_release"):
        mark = " :green-badge[:material/check: current]" if one.is_current else ""
        st.markdown(f"**Release {one.number}**{mark}")
        st.caption(f"{form.plain(one.author)}, {form.when(one.at)}")
        st.text(one.notes)
        entries = form.plural(one.entries, "entry", "entries")
        st.caption(f"{entries}; {_counts(one)}", help=f"SHA-256 of its JSON: {one.digest}")
        _show_activation(ctx, actor, one)
        with st.container(horizontal=True, gap="small"):
            _offer_current(actor, found, one)
            kb_rollback.offer_release(actor, one.number)
        _offer_compare(ctx, actor, one, total)
        _offer_files(ctx, actor, one)


def _show_activation(ctx: Context, actor: Actor, one: Release) -> None:
    held = releases.activations(ctx, actor, rows=releases.MAX_PAGE_ROWS)
    mine = [act for act in held.activations if act.release == one.number]
    if not mine:
        if held.total <= len(held.activations):
            st.caption(":material/schedule: It was never current.")
        return
    newest = mine[0]
    if newest.problem:
        st.caption(f":orange[:material/warning:] {form.plain(newest.problem)}")
    if newest.commit:
        tag = f", tag `{newest.tag}`" if newest.tag else ""
        st.caption(f":material/commit: commit `{newest.commit[:9]}`{tag}")
    if len(mine) > 1:
        first = mine[-1]
        st.caption(
            f"Current {form.number(len(mine))} times: first {form.day(first.at)}, last by "
            f"{form.plain(newest.author)} {form.age(newest.at, ctx.now())} "
            f"({form.plain(newest.reason)})."
        )


def _offer_current(actor: Actor, found: Status, one: Release) -> None:
    if one.is_current or not actor.may(Permission.KB_PUBLISH):
        return
    st.button(
        "Make current",
        key="kb_release_again",
        icon=":material/history:",
        help="Shows first what would change for the shop. What is saved stays as it is.",
        on_click=kb_release_open.open_again,
        args=(found.release, one.number),
    )


def _offer_compare(ctx: Context, actor: Actor, one: Release, total: int) -> None:
    others = [_SAVED]
    if total > 1:
        numbers = releases.recent(ctx, actor, rows=releases.MAX_PAGE_ROWS).releases
        others += [other.number for other in numbers if other.number != one.number]
    before = next((other for other in others if _SAVED < other < one.number), _SAVED)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        other = st.selectbox(
            "Compare with",
            others,
            index=others.index(before),
            format_func=_name,
            key=f"kb_release_other_{one.number}",
            width=200,
        )
        st.button(
            "Compare",
            key="kb_release_compare",
            icon=":material/difference:",
            on_click=kb_release_open.open_compare,
            args=_in_order(one.number, other or _SAVED),
        )


def _name(number: int) -> str:
    return name_of(number or None, saved=True).capitalize()


def _in_order(one: int, other: int) -> tuple[int | None, int | None]:
    if other == _SAVED:
        return one, None
    return min(one, other), max(one, other)


def _offer_files(ctx: Context, actor: Actor, one: Release) -> None:
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "Python module",
            data=lambda: releases.export_module(ctx, actor, one.number).data,
            file_name=f"fashion_kb_{one.number}.py",
            mime="text/x-python",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            key=f"kb_release_py_{one.number}",
        )
        st.download_button(
            "JSON",
            data=lambda: releases.export_json(ctx, actor, one.number).data,
            file_name=f"fashion_kb-{one.number}.json",
            mime="application/json",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            key=f"kb_release_json_{one.number}",
        )
