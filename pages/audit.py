"""Audit log: who did what, when, and whether it worked."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, time, timedelta

import streamlit as st

from services.core import audit
from services.core.access import Actor, Permission
from services.core.audit import AuditEvent, AuditFilter
from services.core.context import Context
from ui import address
from ui.format import plain, plural, viewer_zone, when, with_times
from ui.session import open_page
from ui.tables import on_phone

_ROWS = 50
_OUTCOMES = ("done", "refused", "failed")
_OUTCOME_COLOURS = ("gray", "orange", "red")
_ANY, _BETWEEN = "any", "between"
_SPANS: dict[str, tuple[str, timedelta | None]] = {
    _ANY: ("Any time", None),
    "day": ("Last 24 hours", timedelta(days=1)),
    "week": ("Last 7 days", timedelta(days=7)),
    "month": ("Last 30 days", timedelta(days=30)),
    _BETWEEN: ("Between two days", None),
}
"""By its token in the address: what a stretch of time is called, and how long it is."""


def main() -> None:
    """Draw the page."""
    ctx, actor = open_page(
        "Audit log",
        Permission.AUDIT_VIEW,
        lead="Who did what, and whether it worked. Nobody can change or remove these rows.",
    )
    wanted = _filters(ctx, actor)
    # The page is drawn below the table, but what it says is needed here.
    page = int(st.session_state.get("page") or _page_of_address())
    found = audit.events(ctx, actor, wanted, page=page, rows=_ROWS)
    pages = max(1, math.ceil(found.total / _ROWS))
    if page > pages:
        page = st.session_state["page"] = pages
        found = audit.events(ctx, actor, wanted, page=page, rows=_ROWS)
    if not found.events:
        st.info(
            "Nothing matches these filters. Widen the time or clear the search.",
            icon=":material/search_off:",
        )
        return
    left, right = st.columns([2, 1], gap="medium")
    with left, st.container(key="list_of_events"):
        chosen = _table(found.events, page)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(
                f"{plural(found.total, 'entry', 'entries')}, newest first. Choose a row to see "
                "everything that was recorded."
            )
            if pages > 1 or "page" in st.query_params:
                st.pagination(pages, key="page", bind="query-params", max_visible_pages=5)
            _export(ctx, actor, wanted, found.total)
    with right, st.container(key="chosen_event" if chosen else "nothing_chosen"):
        if chosen is None:
            st.empty()
        else:
            with st.container(border=True):
                _details(chosen)


def _page_of_address() -> int:
    named = st.query_params.get("page", "1")
    return max(1, int(named)) if named.isascii() and named.isdigit() and len(named) < 7 else 1


def _first_page() -> None:
    # Another filter is another list: page 7 of it may not exist.
    if "page" in st.session_state:
        st.session_state["page"] = 1


def _filters(ctx: Context, actor: Actor) -> AuditFilter:
    address.arrive("outcome", _OUTCOMES)
    address.arrive("when", _SPANS, _ANY)
    row = st.container(horizontal=True, gap="small", vertical_alignment="bottom", key="filters")
    text = row.text_input(
        "Search",
        width=190,
        key="q",
        type="search",
        bind="query-params",
        placeholder="Words, a name, an id",
        icon=":material/search:",
        on_change=_first_page,
    )
    actions = row.multiselect(
        "What",
        audit.actions(ctx, actor),
        width=180,
        key="action",
        bind="query-params",
        placeholder="Any action",
        on_change=_first_page,
    )
    who = row.selectbox(
        "Who",
        audit.actor_names(ctx, actor),
        width=125,
        index=None,
        key="who",
        bind="query-params",
        placeholder="Anybody",
        on_change=_first_page,
    )
    outcome = row.selectbox(
        "Outcome",
        _OUTCOMES,
        width=125,
        index=None,
        key="outcome",
        placeholder="Any outcome",
        format_func=str.capitalize,
        on_change=_first_page,
    )
    span = row.selectbox(
        "When",
        list(_SPANS),
        width=150,
        format_func=lambda token: _SPANS[token][0],
        key="when",
        on_change=_first_page,
    )
    address.keep("outcome")
    address.keep("when", _ANY)
    since, until = _times(ctx, span)
    return AuditFilter(
        text=(text or "").strip(),
        actions=tuple(actions),
        actor=who or "",
        outcome=outcome or "",
        since=since,
        until=until,
    )


def _times(ctx: Context, span: str) -> tuple[datetime | None, datetime | None]:
    if span != _BETWEEN:
        length = _SPANS[span][1]
        return (ctx.now() - length if length else None), None
    zone = viewer_zone()
    today = ctx.now().astimezone(zone).date()
    days = st.date_input(
        "Days",
        (today - timedelta(days=7), today),
        key="days",
        bind="query-params",
        on_change=_first_page,
    )
    if not isinstance(days, tuple) or not days:
        return None, None
    # While the second day is not chosen yet, one day is meant.
    first, last = days[0], days[-1]
    return (
        datetime.combine(first, time(), zone).astimezone(UTC),
        datetime.combine(last + timedelta(days=1), time(), zone).astimezone(UTC),
    )


def _table(events: tuple[AuditEvent, ...], page: int) -> AuditEvent | None:
    zone = viewer_zone()
    columns: dict[str, list[object]] = {
        "When": [event.at.astimezone(zone) for event in events],
        "Who": [event.actor_name for event in events],
        "What": [with_times(event.summary) for event in events],
        "Outcome": [[event.outcome.capitalize()] for event in events],
    }
    if on_phone():
        del columns["Who"], columns["Outcome"]
        columns["What"] = [_with_outcome(event) for event in events]
    picked = st.dataframe(
        columns,
        hide_index=True,
        width="stretch",
        height="content" if len(events) <= 15 else 560,
        column_config={
            "When": st.column_config.DatetimeColumn(
                format="D MMM YYYY HH:mm", width=130, help="In your time zone"
            ),
            "Who": st.column_config.TextColumn(width=95),
            "What": st.column_config.TextColumn(width=200),
            "Outcome": st.column_config.MultiselectColumn(
                options=[word.capitalize() for word in _OUTCOMES],
                color=_OUTCOME_COLOURS,
                width=80,
            ),
        },
        on_select="rerun",
        selection_mode="single-row",
        # New entries move the rows: a selection belongs to exactly this list.
        key=f"audit_table_{page}_{events[0].id}_{events[-1].id}_{len(events)}",
        alt="Audit log entries: when, who, what, outcome; Shift and Space open a row",
    )
    rows = picked.selection.rows
    return events[rows[0]] if rows and rows[0] < len(events) else None


def _with_outcome(event: AuditEvent) -> str:
    told = with_times(event.summary)
    return told if event.outcome == "done" else f"{event.outcome.capitalize()}: {told}"


def _details(event: AuditEvent) -> None:
    st.text(with_times(event.summary))
    facts = {
        "When": when(event.at),
        "Who": f"{event.actor_name} ({event.actor_kind})",
        "Action": event.action,
        "Subject": f"{event.subject_kind} {event.subject_id}".strip(),
        "Outcome": event.outcome,
        "Machine": event.host,
    }
    st.caption("  \n".join(f"**{name}** {plain(value)}" for name, value in facts.items()))
    if event.details:
        st.code(json.dumps(event.details, ensure_ascii=False, indent=2), language="json")


def _export(ctx: Context, actor: Actor, wanted: AuditFilter, total: int) -> None:
    st.download_button(
        "Export CSV",
        lambda: audit.export_csv(ctx, actor, wanted),
        file_name=f"audit-{ctx.now():%Y%m%d-%H%M}.csv",
        mime="text/csv",
        key="audit_export",
        icon=":material/download:",
        help=f"{plural(total, 'entry', 'entries')} as filtered. The export is recorded too.",
        on_click="ignore",
    )


main()
