"""Every backup there is, what is in it, and the way back."""

from __future__ import annotations

from datetime import timedelta

import streamlit as st

from services import backup, drill, restore
from services.core import jobs
from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.jobs import Job, JobState
from services.protection.model import SnapshotPage, SnapshotRow
from services.protection.rescue.undo import UndoOffer
from ui import address, legacy_list, restore_flow, snapshot_panel
from ui import format as form
from ui.messages import say_after_rerun, show_problem, shown_errors
from ui.progress import back_up_button, job_progress, show_failure
from ui.session import open_page
from ui.tables import on_phone
from ui.theme import LIGHT, palette

ROWS = 20
ROWS_BESIDE = 12  # the others scroll, so that on a phone the panel below is not far away
ROW_PIXELS, HEAD_PIXELS = 38, 37
STATES = {
    "": "All",
    "verified": "Verified",
    "read back": "Read back",
    "damaged": "Damaged",
}
FAILURE_SHOWN = timedelta(days=2)
# So long the last restore stands at the top with its Undo; later its safety backup is in the
# list like any other.
UNDO_SHOWN = timedelta(days=7)


def show_head(ctx: Context, actor: Actor) -> None:
    """What runs now, what can be undone, and how the last run ended if not well."""
    running = backup.current(ctx)
    if running is not None:
        job_progress(running.id)
        return
    drilling = drill.current(ctx)
    if drilling is not None and drilling.params.get("snapshot") != st.query_params.get("snapshot"):
        job_progress(drilling.id)
    for kind in ("backup", "restore", "drill"):
        last = next((job for job in jobs.recent(ctx, (kind,), 5) if job.state.ended), None)
        if last is not None and last.state is not JobState.SUCCEEDED and _is_news(ctx, actor, last):
            show_failure(last, ctx.now())
    if actor.may(Permission.RESTORE):
        offer = restore.undo_offer(ctx, actor)
        if offer is not None and _is_recent(ctx, offer):
            restore_flow.show_undo(ctx, actor, offer)


def _is_news(ctx: Context, actor: Actor, job: Job) -> bool:
    """Whether a failure is young, and neither made good since nor told by the open panel."""
    if job.ended_at is None or ctx.now() - job.ended_at >= FAILURE_SHOWN:
        return False
    if job.kind == "drill":
        opened = st.query_params.get("snapshot")
        return opened is None or job.params.get("snapshot") != opened
    if job.kind == "backup":
        # Not every backup is a job of this kind: another machine's, or the one before a restore.
        newest = backup.snapshots(ctx, actor, rows=1).rows
        return not newest or newest[0].created_at < job.ended_at
    return True


def _is_recent(ctx: Context, offer: UndoOffer) -> bool:
    return offer.ended_at is not None and ctx.now() - offer.ended_at < UNDO_SHOWN


def show_filters(ctx: Context, actor: Actor) -> tuple[str, str]:
    """What to look for, kept in the address; and the button beside it."""
    address.arrive("state", STATES, "")
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="filters"):
        search = st.text_input(
            "Search",
            placeholder="Search date, id, who, why",
            icon=":material/search:",
            label_visibility="collapsed",
            key="q",
            bind="query-params",
            on_change=_first_page,
            width=250,
        )
        state = st.segmented_control(
            "State",
            list(STATES),
            required=True,
            format_func=STATES.__getitem__,
            label_visibility="collapsed",
            key="state",
            on_change=_first_page,
        )
        if actor.may(Permission.BACKUP_CREATE):
            st.space("stretch")
            back_up_button(ctx, actor, key="back_up", primary=True)
    address.keep("state")
    return search.strip(), state or ""


def _first_page() -> None:
    st.session_state["page"] = 1


def show_list(ctx: Context, actor: Actor, search: str, state: str, *, narrow: bool) -> None:
    """The list; a chosen row opens beside it."""
    page = st.session_state.get("page", 1)
    found = _listed(ctx, actor, search, state, page)
    if found.store_error is not None:
        message, hint = found.store_error
        show_problem(
            f"{message} The list below is what the desk knew before.",
            hint,
            calm=True,
            icon=":material/cloud_off:",
        )
    slot = st.container()
    pages = max(1, -(-found.total // ROWS))
    if pages > 1:
        chosen = st.pagination(pages, key="page", bind="query-params")
        if chosen != page:  # the address named it, and only now it is known
            found = _listed(ctx, actor, search, state, chosen)
    with slot, st.container(key="list_of_backups"):
        if found.rows:
            _table(ctx, found, narrow=narrow)
        else:
            _nothing(ctx, actor, found, filtered=bool(search or state))
    _as_of(ctx, actor, found)


def _listed(ctx: Context, actor: Actor, search: str, state: str, page: int) -> SnapshotPage:
    # Times are shown in the viewer's zone, so a day that is searched for is the viewer's too.
    zone = form.viewer_zone()
    return backup.snapshots(ctx, actor, search=search, state=state, page=page, rows=ROWS, zone=zone)


def _table(ctx: Context, found: SnapshotPage, *, narrow: bool) -> None:
    now, zone = ctx.now(), form.viewer_zone()
    rows = found.rows
    columns: dict[str, list[object]] = {
        "When": [form.when_short(row.created_at, now, zone) for row in rows],
        "State": [[snapshot_panel.state_of(row)] for row in rows],
    }
    phone = on_phone()
    narrow = narrow or phone
    if not phone:
        columns["Why"] = [snapshot_panel.REASONS.get(row.reason, row.reason) for row in rows]
    if not narrow:
        columns["Asked by"] = [row.asked_by for row in rows]
    columns["Data"] = [form.size(row.plain_bytes) for row in rows]
    if not narrow:
        columns["Stored"] = [form.size(row.stored_bytes) for row in rows]
        columns["Orders"] = [form.number(row.headline.get("orders")) for row in rows]
        marks, common = snapshot_panel.marks_of_list(rows)
        if any(marks):
            columns["Marks"] = list(marks)
        if common:
            # "In" two copies: the other two are words for what a backup is.
            said = [word.replace("two copies", "in two copies") for word in common]
            st.caption(f"All of these are {form.listing(said)}.")
    # The key names the rows: a selection is a position, and must not move to another row
    # when a new backup pushes the list down.
    key = f"list_{rows[0].id}_{len(rows)}_{narrow}"
    wanted = st.query_params.get("snapshot")
    st.dataframe(
        columns,
        hide_index=True,
        width="stretch",
        height=HEAD_PIXELS + ROW_PIXELS * min(len(rows), ROWS_BESIDE if narrow else ROWS),
        row_height=ROW_PIXELS,
        key=key,
        on_select=lambda: _chosen(key, rows),
        selection_mode="single-row",
        selection_default={
            "selection": {"rows": [n for n, row in enumerate(rows) if row.id == wanted]}
        },
        alt=f"{form.plural(found.total, 'backup')}, newest first; Shift and Space open a row",
        column_config={
            # The grid writes white or black on these; both modes can be read with the dark ones.
            "State": st.column_config.MultiselectColumn(
                options=list(snapshot_panel.STATE_COLOURS),
                color=[LIGHT.ok, palette().none, palette().none, LIGHT.bad],
                width=112,
                help=snapshot_panel.STATES_EXPLAINED,
            ),
            "When": st.column_config.TextColumn(width=126, help=f"In {_zone_name(ctx)}"),
            "Why": st.column_config.TextColumn(width=112),
            "Data": st.column_config.TextColumn(width=70, help="Before compression"),
            "Stored": st.column_config.TextColumn(width=74, help="What it takes in the store"),
            "Orders": st.column_config.TextColumn(width=70, help="Orders in the shop then"),
            "Marks": st.column_config.MultiselectColumn(
                options=list(snapshot_panel.MARKS), color=palette().none, width="medium"
            ),
        },
    )


def _zone_name(ctx: Context) -> str:
    return f"{ctx.now().astimezone(form.viewer_zone()):%Z} (your time zone)"


def _chosen(key: str, rows: tuple[SnapshotRow, ...]) -> None:
    picked = st.session_state[key]["selection"]["rows"]
    if picked and picked[0] < len(rows):
        st.query_params["snapshot"] = rows[picked[0]].id
    else:
        st.query_params.pop("snapshot", None)


def _nothing(ctx: Context, actor: Actor, found: SnapshotPage, *, filtered: bool) -> None:
    with st.container(border=True):
        if filtered:
            st.markdown("**No backup matches.**")
            st.caption("Clear the search, or choose All.")
        elif backup.current(ctx) is not None:
            st.caption("The backup that is being made now will stand here.")
        else:
            st.markdown("**There is no backup yet.**")
            st.caption(
                "A backup holds the shop's database, the knowledge base, the vectors, the "
                "pictures and the desk's own records. Make the first one now, then let cron make "
                "one every night (docs/deploy has the line)."
            )
            if actor.may(Permission.BACKUP_CREATE):
                back_up_button(ctx, actor, key="back_up", primary=True)


def _as_of(ctx: Context, actor: Actor, found: SnapshotPage) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        at = found.refreshed_at
        unheard = "as the desk knew them before" if found.total else "not listed yet"
        as_of = f"as of {form.when_short(at, ctx.now())}" if at else unheard
        st.caption(
            f"{form.plural(found.total, 'backup')} in {form.plain(found.store_url)}, {as_of}",
            width="content",
        )
        if st.button("Refresh", icon=":material/refresh:", type="tertiary", key="refresh"):
            with shown_errors():
                result = backup.refresh(ctx, actor)
                more = f"{len(result.added)} new, {len(result.removed)} gone"
                bad = f", {len(result.unreadable)} unreadable" if result.unreadable else ""
                say_after_rerun(f"{form.plural(result.total, 'backup')}: {more}{bad}.")
                st.rerun()


def main() -> None:
    """Show the page."""
    ctx, actor = open_page("Backups", Permission.BACKUP_VIEW)
    with shown_errors():
        show_head(ctx, actor)
        # Nothing to search in an empty store; its one button stands where a backup would.
        any_yet = backup.current(ctx) or backup.snapshots(ctx, actor, rows=1).total
        search, state = show_filters(ctx, actor) if any_yet else ("", "")
        wanted = st.query_params.get("snapshot")
        if wanted is None:
            show_list(ctx, actor, search, state, narrow=False)
            legacy_list.show(ctx, actor)
            return
        left, right = st.columns([4, 3])
        with left:
            show_list(ctx, actor, search, state, narrow=True)
        with right, st.container(key="chosen_backup"), shown_errors():
            snapshot_panel.show(ctx, actor, wanted)


main()
