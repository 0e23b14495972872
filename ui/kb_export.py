"""Export: the knowledge base, or a part of it, as a file in any of the formats."""

from __future__ import annotations

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.knowledge import entries
from services.knowledge.comparing import ROOT
from services.knowledge.exchange import exporting
from services.knowledge.exchange.model import Format
from services.knowledge.sections import pointer
from ui import format as form
from ui import kb_where

_FORMATS = {
    Format.MODULE: ("Python module", "What the shop imports."),
    Format.JSON: ("JSON", "For other programs."),
    Format.YAML: ("YAML", "Easy to read and to compare."),
    Format.CSV: ("CSV", "One table, for any spreadsheet."),
    Format.XLSX: ("Excel", "A sheet for each part."),
}
_PART = "kb_export_part"


def show_export(ctx: Context, actor: Actor) -> None:
    """What to export, and a button for each format."""
    found = entries.sections(ctx, actor)
    titles = {ROOT: "The whole knowledge base"}
    counts = {ROOT: sum(summary.entries for summary in found)}
    for summary in found:
        where = pointer((summary.section.key,))
        if len(summary.parts) > 1:
            titles[where] = summary.section.title
            counts[where] = summary.entries
        for one in summary.parts:
            title = one.part.title
            several = len(summary.parts) > 1
            name = f"{summary.section.title} / {title}" if several else summary.section.title
            titles[one.part.pointer] = name
            counts[one.part.pointer] = one.entries
    section = st.session_state.get(kb_where.SECTION)
    here = st.session_state.get(kb_where.PART) or (pointer((section,)) if section else ROOT)
    if st.session_state.get(_PART) not in titles:
        st.session_state[_PART] = here if here in titles else ROOT
    part = st.selectbox(
        "What",
        [where for where in titles if where == ROOT or counts[where]],
        format_func=lambda where: f"{titles[where]} ({form.number(counts[where])})",
        label_visibility="collapsed",
        key=_PART,
        width=420,
    )
    st.caption("Importing such a file again changes nothing. Exports stand in the audit log.")
    with st.container(horizontal=True, gap="small", key="kb_exports"):
        for one, (label, about) in _FORMATS.items():
            _download(ctx, actor, one, label, about, part or ROOT)


def _download(ctx: Context, actor: Actor, form_: Format, label: str, about: str, part: str) -> None:
    st.download_button(
        label,
        # Made when it is asked for, not with every page.
        data=lambda: exporting.export(ctx, actor, form_, part).data,
        file_name=exporting.name_of(form_, part),
        mime=exporting.MIME[form_],
        icon=":material/download:",
        help=about,
        on_click="ignore",
        key=f"kb_export_{form_.value}",
    )
