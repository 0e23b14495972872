"""What is wrong or missing in the knowledge base, each with the way to its cell."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.knowledge import inspecting
from services.knowledge.inspecting import Report
from services.knowledge.quality import CHECKS, Completeness, Finding
from services.knowledge.sections import part_at, part_of_entry, title_of
from ui import format as form
from ui import kb_where
from ui.kb_entry import field_title

_SHOWN = 20


def show_quality(ctx: Context, actor: Actor) -> None:
    """How complete each section is, and what the checks found."""
    report = inspecting.report(ctx, actor)
    if not report.completeness:
        st.info(
            "As soon as something is written, this shows what is missing and what contradicts "
            "itself.",
            title="Nothing has been written yet",
            icon=":material/fact_check:",
        )
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _show_findings(report)
    with right:
        _show_completeness(report.completeness)


def _show_findings(report: Report) -> None:
    counts = Counter(one.check for one in report.findings)
    with st.container(border=True, key="kb_findings"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown("**Findings**", width="content")
            told = form.plural(len(report.findings), "thing", "things")
            st.caption(f"{told} to look at" if counts else "every check passed", width="content")
        if not counts:
            st.markdown(":green[:material/check_circle:] Nothing is wrong or missing.")
        for check in CHECKS:
            if not counts[check.name]:
                continue
            with st.expander(f"{check.title} ({counts[check.name]})", key=f"kb_check_{check.name}"):
                st.caption(check.about)
                found = [one for one in report.findings if one.check == check.name]
                for number, one in enumerate(found[:_SHOWN]):
                    _show_finding(one, number)
                if len(found) > _SHOWN:
                    st.caption(f"and {form.number(len(found) - _SHOWN)} more.")


def _show_finding(one: Finding, number: int) -> None:
    part = part_of_entry(one.section, one.key) or part_at(one.section)
    title = field_title(part, one.field) if part else one.field
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(gap=None, width="stretch"):
            st.markdown(f"**{form.plain(one.key)}** {form.plain(one.message)}")
            st.caption(form.plain(f"{title_of(one.section)} · {title}"))
        st.button(
            "Open",
            key=f"kb_finding_{one.check}_{number}",
            type="tertiary",
            icon=":material/arrow_forward:",
            help=f"Open {one.key}",
            on_click=kb_where.go_to_entry,
            args=(one.section, one.key, one.entry_id),
        )


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
        for one in incomplete:
            empty = form.plural(one.cells - one.filled, "cell", "cells")
            st.progress(one.share, text=f"{_title(one)} · {empty} empty")
        complete = [_title(one) for one in found if one.share == 1]
        if complete:
            st.caption(f"Complete: {', '.join(sorted(complete))}.")


def _title(one: Completeness) -> str:
    return form.plain(title_of(one.section) if one.section else "Top level")
