"""What is wrong or missing in the knowledge base, each with the way to its cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import DeskError
from services.knowledge import inspecting
from services.knowledge.dismissing import Dismissed, bring_back
from services.knowledge.inspecting import Report
from services.knowledge.quality import CHECKS, Completeness, Finding
from services.knowledge.sections import (
    part_at,
    part_of_entry,
    path_of,
    pointer,
    section_of,
    title_of,
)
from ui import format as form
from ui import kb_dismiss, kb_where
from ui.kb_entry import field_title
from ui.messages import say_after_rerun, show_error
from ui.session import guard

PAGE_ROWS = 20
_CHECK, _SECTION, _WHICH = "kb_quality_check", "kb_quality_section", "kb_quality_which"
_PAGE, _FOR = "kb_quality_page", "kb_quality_for"
_OPEN, _DISMISSED = "open", "dismissed"
_TITLES = {check.name: check.title for check in CHECKS}
_ABOUT = {check.name: check.about for check in CHECKS}
_LOOK_AGAIN_SECONDS = 2


def show_quality(ctx: Context, actor: Actor) -> None:
    """How complete each section is, and what the checks found."""
    report = inspecting.report(ctx, actor)
    if report.checking:
        _wait_for_checks(first=not report.completeness)
    if not report.completeness:
        if not report.checking:
            st.info(
                "As soon as something is written, this shows what is missing and what "
                "contradicts itself.",
                title="Nothing has been written yet",
                icon=":material/fact_check:",
            )
        return
    left, right = st.columns([3, 2], gap="medium")
    with right:
        _show_completeness(report.completeness)
    with left, st.container(border=True, key="kb_findings"):
        _show_findings(ctx, actor, report)


@st.fragment(run_every=_LOOK_AGAIN_SECONDS)
def _wait_for_checks(*, first: bool) -> None:
    """Say that the checks are at work, and show what they found as soon as it is there."""
    ctx, _actor = guard(Permission.KB_VIEW)
    if not inspecting.at_work(ctx):
        st.rerun(scope="app")
    told = "The checks run for the first time." if first else "The checks run on what was saved."
    rest = "" if first else " Until they are done, this is what they found before."
    st.caption(f":material/sync: {told}{rest}")


def _show_findings(ctx: Context, actor: Actor, report: Report) -> None:
    found = report.findings
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("**Findings**", width="content")
        told = form.plural(len(found), "thing", "things")
        st.caption(f"{told} to look at" if found else "every check passed", width="stretch")
        which = _choose_which(report)
    if which == _DISMISSED:
        _show_dismissed(ctx, actor, report.dismissed)
        return
    if not found:
        st.markdown(":green[:material/check_circle:] Nothing is wrong or missing.")
        return
    _choose_filter(found)
    chosen = filtered(found)
    if st.session_state[_CHECK]:
        st.caption(_ABOUT[st.session_state[_CHECK]])
    shown = _page_of(chosen)
    may_edit = actor.may(Permission.KB_EDIT)
    for number, one in enumerate(shown):
        _show_finding(one, number, may_edit=may_edit)
    _show_pages(len(chosen), len(found))
    if may_edit and len(chosen) > 1:
        kb_dismiss.offer_all(len(chosen))
    if may_edit:
        kb_dismiss.show_dialog(chosen, shown)


def _choose_which(report: Report) -> str:
    if not report.dismissed:
        return _OPEN
    labels = {_OPEN: "To look at", _DISMISSED: f"Dismissed ({form.number(len(report.dismissed))})"}
    chosen = st.segmented_control(
        "Which",
        list(labels),
        default=_OPEN,
        required=True,
        format_func=labels.__getitem__,
        label_visibility="collapsed",
        key=_WHICH,
    )
    return chosen or _OPEN


def _choose_filter(found: Sequence[Finding]) -> None:
    """Which check and which section; each says how many it has."""
    by_check = Counter(one.check for one in found)
    by_section = Counter(map(section_key, found))
    checks = {"": f"All checks ({form.number(len(found))})"} | {
        check.name: f"{check.title} ({form.number(by_check[check.name])})"
        for check in CHECKS
        if by_check[check.name]
    }
    sections = {"": "All sections"} | {
        key: f"{_section_title(key)} ({form.number(by_section[key])})"
        for key in sorted(by_section, key=_section_title)
    }
    for name, options in ((_CHECK, checks), (_SECTION, sections)):
        # The widget itself forgets its value when a count in its options changes.
        now = st.session_state.get(name)
        st.session_state[name] = now if now in options else ""
    with st.container(horizontal=True, gap="small", key="kb_quality_filter"):
        st.selectbox(
            "Check",
            list(checks),
            format_func=checks.__getitem__,
            label_visibility="collapsed",
            key=_CHECK,
        )
        st.selectbox(
            "Section",
            list(sections),
            format_func=sections.__getitem__,
            label_visibility="collapsed",
            key=_SECTION,
        )


def filtered(found: Sequence[Finding]) -> Sequence[Finding]:
    """The findings that the chosen check and section leave."""
    check, section = st.session_state.get(_CHECK, ""), st.session_state.get(_SECTION, "")
    if not check and not section:
        return found
    return [
        one
        for one in found
        if check in ("", one.check) and (not section or section_key(one) == section)
    ]


def section_key(one: Finding) -> str:
    """The key at the top of the document below which a finding lies."""
    return _top(one.section) or one.key


@lru_cache(maxsize=512)  # there may be a hundred thousand findings, in a few sections
def _top(section: str) -> str:
    return next(iter(path_of(section)), "")


def _section_title(key: str) -> str:
    section = section_of(key)
    return section.title if section else key


def _page_of(chosen: Sequence[Finding]) -> Sequence[Finding]:
    """The rows of the chosen page; another filter begins at its first."""
    mine = (st.session_state[_CHECK], st.session_state[_SECTION])
    pages = max(1, -(-len(chosen) // PAGE_ROWS))
    if st.session_state.get(_FOR) != mine or st.session_state.get(_PAGE, 1) > pages:
        st.session_state[_FOR] = mine
        st.session_state[_PAGE] = 1
    start = (int(st.session_state.get(_PAGE, 1)) - 1) * PAGE_ROWS
    return chosen[start : start + PAGE_ROWS]


def _show_pages(count: int, total: int) -> None:
    if count <= PAGE_ROWS:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        of = f" of {form.number(total)}" if count != total else ""
        st.caption(f"{form.number(count)}{of}", width="content")
        st.pagination(-(-count // PAGE_ROWS), key=_PAGE)


def _show_finding(one: Finding, number: int, *, may_edit: bool) -> None:
    with st.container(
        horizontal=True,
        vertical_alignment="center",
        gap="small",
        key=f"kb_finding_row_{number}",
    ):
        with st.container(gap=None, width="stretch"):
            st.markdown(f"**{_shown_key(one)}** {form.plain(one.message)}")
            st.caption(form.plain(_place(one)))
        if may_edit:
            kb_dismiss.offer(one, number)
        st.button(
            "Open",
            key=f"kb_finding_{one.check}_{number}",
            type="tertiary",
            icon=":material/arrow_forward:",
            help=f"Open {_shown_key(one)}",
            on_click=kb_where.go_to_entry,
            args=(one.section, one.key, one.entry_id),
        )


def _shown_key(one: Finding) -> str:
    return form.plain(one.key) if one.key.strip() else "(no key)"


def _place(one: Finding) -> str:
    part = part_of_entry(one.section, one.key) or part_at(one.section)
    title = field_title(part, one.field) if part else one.field
    where = title_of(part.pointer if part else one.section or pointer((one.key,)))
    return f"{_TITLES.get(one.check, one.check)} · {where} · {title}"


def _show_dismissed(ctx: Context, actor: Actor, dismissed: Sequence[Dismissed]) -> None:
    st.caption(
        "Left for a reason. Where the text decides, a finding comes back when the entry says "
        "something else."
    )
    pages = max(1, -(-len(dismissed) // PAGE_ROWS))
    start = (min(int(st.session_state.get("kb_left_page", 1)), pages) - 1) * PAGE_ROWS
    may_edit = actor.may(Permission.KB_EDIT)
    for number, one in enumerate(dismissed[start : start + PAGE_ROWS]):
        with st.container(
            horizontal=True, vertical_alignment="center", gap="small", key=f"kb_left_{number}"
        ):
            with st.container(gap=None, width="stretch"):
                finding = one.finding
                st.markdown(f"**{_shown_key(finding)}** {form.plain(finding.message)}")
                st.markdown(f"“{form.plain(one.reason)}”")
                told = f"{form.plain(one.author)}, {form.age(one.at, ctx.now())}"
                st.caption(f"{told} · {form.plain(_place(finding))}")
            if may_edit and st.button(
                "Bring back",
                key=f"kb_left_back_{number}",
                type="tertiary",
                icon=":material/undo:",
                help="It counts again.",
            ):
                _bring_back(ctx, actor, finding)
    if pages > 1:
        st.pagination(pages, key="kb_left_page")


def _bring_back(ctx: Context, actor: Actor, finding: Finding) -> None:
    try:
        bring_back(ctx, actor, [finding])
    except DeskError as error:
        show_error(error)
        return
    say_after_rerun("The finding counts again.")
    st.rerun()


def _show_completeness(found: tuple[Completeness, ...]) -> None:
    cells = sum(one.cells for one in found)
    filled = sum(one.filled for one in found)
    with st.container(border=True, key="kb_completeness"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown("**Completeness**", width="content")
            st.caption(
                f"{form.number(filled)} of {form.number(cells)} cells are written", width="content"
            )
        incomplete = sorted((one for one in found if one.share < 1), key=lambda one: one.share)
        for number, one in enumerate(incomplete):
            _show_incomplete(one, number)
        complete = sorted(_title(one) for one in found if one.share == 1)
        if complete:
            st.caption(f":green[:material/check_circle:] Complete: {', '.join(complete)}.")


def _show_incomplete(one: Completeness, number: int) -> None:
    """A bar, and the cells that are empty."""
    empty = form.plural(len(one.empty), "cell", "cells")
    st.progress(one.share, text=f"{_title(one)} · {form.number(round(100 * one.share))} %")
    with st.popover(f"{empty} empty", key=f"kb_empty_{number}", type="tertiary"):
        for row, (entry_id, key, name) in enumerate(one.empty[:PAGE_ROWS]):
            part = part_of_entry(one.section, key) or part_at(one.section)
            title = field_title(part, name) if part else name
            st.button(
                f"{form.plain(key)} · {form.plain(title)}",
                key=f"kb_empty_{number}_{row}",
                type="tertiary",
                icon=":material/arrow_forward:",
                on_click=kb_where.go_to_entry,
                args=(_section_of_empty(one, key), key, entry_id),
            )
        if len(one.empty) > PAGE_ROWS:
            st.caption(f"and {form.number(len(one.empty) - PAGE_ROWS)} more, under Empty cells")


def _section_of_empty(one: Completeness, key: str) -> str:
    """Where the entry lies: in the part, or the part is the entry itself."""
    path = path_of(one.section)
    return pointer(path[:-1]) if path and path[-1] == key and part_at(one.section) else one.section


def _title(one: Completeness) -> str:
    return form.plain(title_of(one.section) if one.section else "Top level")
