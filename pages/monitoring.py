"""Alerts, and charts over what was measured: results and sizes of backups, growth, disks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import cached_property

import streamlit as st

from services import backup, monitor
from services.core.access import Actor, Permission
from services.core.context import Context
from services.protection import matching
from services.watch import samples
from services.watch.judging import DISK_LOW
from services.watch.metrics import MAIN_TABLES, METRICS, Unit
from services.watch.samples import Series
from ui import alert_list, charts, tables
from ui import format as form
from ui.messages import say_after_rerun, shown_errors
from ui.session import open_page
from ui.theme import THINGS, palette

RANGES = {30: "30 days", 90: "90 days", 365: "1 year"}
SHORTEST = timedelta(days=6)
"""A chart shows a week at least."""
TABLE_TITLES = {
    "orders": "orders",
    "order_items": "order items",
    "products": "products",
    "users": "customers",
    "cart_items": "items in carts",
    "kb_entries": "KB entries",
}
SHOWN_TABLES = ("orders", "products", "users")
_VECTORS = (
    "The shop's search compares vectors. A product without one is not found; a vector without an "
    "active product makes the search answer with something that is not for sale."
)
CRON_LINE = "*/15 * * * *  cd /path/to/insightshop-admin && .venv/bin/python services/monitor.py"


@dataclass(frozen=True)
class View:
    """What the viewer chose, and for whom it is drawn."""

    ctx: Context
    actor: Actor
    since: datetime
    until: datetime
    zone: tzinfo
    as_tables: bool

    def series(self, metric: str, subject: str | None = None) -> tuple[Series, ...]:
        """The stored values within the chosen range."""
        return samples.series(self.ctx, self.actor, metric, subject, since=self.since)

    @cached_property
    def days(self) -> tuple[date, date]:
        """First and last day that charts show where the viewer is, the same in all of them.

        A desk that is younger than the range begins with its first measurement: what was
        measured in two days can't be seen on an axis of ninety.
        """
        told = [
            one.points[0].at
            for metric in ("control.bytes", "backup.outcome", "backup.data_bytes")
            for one in self.series(metric)
        ]
        first = max(self.since, min(min(told, default=self.since), self.until - SHORTEST))
        return first.astimezone(self.zone).date(), self.until.astimezone(self.zone).date()


def choose(ctx: Context, actor: Actor) -> View:
    """The range and the form, kept in the address so that a view can be sent on."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        days = st.segmented_control(
            "Range",
            list(RANGES),
            default=90,
            required=True,
            format_func=RANGES.__getitem__,
            label_visibility="collapsed",
            key="days",
            bind="query-params",
        )
        form_of = st.segmented_control(
            "Shown as",
            ["charts", "tables"],
            default="charts",
            required=True,
            format_func=str.capitalize,
            label_visibility="collapsed",
            key="view",
            bind="query-params",
        )
        taken = samples.taken_at(ctx)
        measured = f"Measured {form.when(taken)}" if taken else "Nothing measured yet"
        st.caption(measured, width="content")
        if st.button("Measure now", icon=":material/refresh:", type="tertiary", key="measure"):
            with shown_errors():
                count = len(monitor.sample(ctx, actor))
                say_after_rerun(f"{count} values measured.")
                st.rerun()
    now = ctx.now()
    since = now - timedelta(days=days or 90)
    return View(ctx, actor, since, now, form.viewer_zone(), form_of == "tables")


def show_results(view: View) -> None:
    """Did the backups succeed?"""
    runs = [
        (one.points[-1].at.astimezone(view.zone).date(), one.points[-1].value > 0)
        for one in view.series("backup.outcome")
    ]
    good = sum(succeeded for _day, succeeded in runs)
    share = f"{good / len(runs):.0%} succeeded" if runs else ""
    with card(
        "Backup results", share, f"{good} of {form.plural(len(runs), 'run')}" if runs else ""
    ):
        if not runs:
            empty("No backup has run in this time.", "Press Back up now on the Overview.")
            return
        per_day = [
            (
                day,
                sum(ok for at, ok in runs if at == day),
                sum(not ok for at, ok in runs if at == day),
            )
            for day in sorted({at for at, _ok in runs})
        ]
        words = f"Backups per day: {good} of {len(runs)} succeeded."
        if view.as_tables:
            tables.show(
                {
                    "Day": [f"{day.day} {day:%b %Y}" for day, _good, _bad in per_day[::-1]],
                    "Succeeded": [row[1] for row in per_day[::-1]],
                    "Failed": [row[2] for row in per_day[::-1]],
                },
                words,
                key="results_table",
            )
            return
        since, until = view.days
        charts.draw(charts.results(per_day, palette(), since=since, until=until), "results", words)


def show_lines(
    view: View,
    title: str,
    key: str,
    drawn: Sequence[tuple[str, str, Series]],
    unit: Unit,
    *,
    lead: str = "",
    below: str = "",
    goal: charts.Goal | None = None,
    filled: bool = False,
    nothing: str,
    choice: Callable[[], None] | None = None,
) -> None:
    """A card with lines over time, or the same as a table.

    Args:
        drawn: (name, colour, series).
        choice: shows a widget that chooses the lines, beside the heading.
    """
    drawn = [line for line in drawn if line[2].points]
    with card(title, lead, below, choice):
        if not drawn:
            empty(nothing, "The desk measures after each backup and whenever this page opens.")
            return
        words = f"{title}: " + ", ".join(
            f"{name} {_told(series.points[0].value, unit)} at first, "
            f"{_told(series.points[-1].value, unit)} now"
            for name, _colour, series in drawn
        )
        if view.as_tables:
            named = [(name, series) for name, _colour, series in drawn]
            tables.show_series(named, unit, words, key=f"{key}_table", zone=view.zone)
            return
        since, until = view.days
        figure = charts.lines(
            [
                charts.Line(
                    name,
                    colour,
                    [p.at for p in series.points],
                    [p.value for p in series.points],
                    filled=filled,
                )
                for name, colour, series in drawn
            ],
            unit,
            palette(),
            since=since,
            until=until,
            zone=view.zone,
            goal=goal,
        )
        charts.draw(figure, key, words)


def show_sizes(view: View) -> None:
    """How large are backups?"""
    drawn = [
        (METRICS[metric].title, THINGS[metric], one)
        for metric in ("backup.data_bytes", "backup.stored_bytes")
        for one in view.series(metric)
    ]
    last = {one.metric: one.last.value for _n, _c, one in drawn if one.last}
    below = ""
    if len(last) == 2 and last["backup.stored_bytes"]:
        ratio = last["backup.data_bytes"] / last["backup.stored_bytes"]
        below = f"compressed to {1 / ratio:.0%}"
    show_lines(
        view,
        "Backup size",
        "sizes",
        drawn,
        Unit.BYTES,
        lead=form.size(last.get("backup.stored_bytes")) if last else "",
        below=below,
        nothing="No backup was made in this time.",
    )


def show_growth(view: View) -> None:
    """How fast does what must be protected grow?"""
    drawn = [
        (METRICS[metric].title, THINGS[metric], one)
        for metric in ("shop.database_bytes", "vectors.bytes", "images.bytes")
        for one in view.series(metric)
    ]
    lead, below = "", ""
    if drawn and drawn[0][2].metric == "shop.database_bytes":
        points = drawn[0][2].points
        lead = form.size(points[-1].value)
        below = _growth(points[0].value, points[-1].value, Unit.BYTES)
    show_lines(
        view,
        "Data growth",
        "growth",
        drawn,
        Unit.BYTES,
        lead=lead,
        below=below,
        nothing="The shop's data was not measured in this time.",
    )


def show_rows(view: View) -> None:
    """How many rows do the main tables hold?"""
    found = {one.subject: one for one in view.series("shop.rows")}
    known = [name for name in MAIN_TABLES if name in found]
    names = [name for name in known if name in st.session_state.get("tables", SHOWN_TABLES)]
    orders = found.get("orders")
    lead, below = "", ""
    if orders is not None and orders.last is not None:
        lead = f"{form.number(orders.last.value)} orders"
        below = _growth(orders.points[0].value, orders.last.value, Unit.ROWS)
    show_lines(
        view,
        "Rows",
        "rows",
        [(TABLE_TITLES[name], THINGS[name], found[name]) for name in names],
        Unit.ROWS,
        lead=lead,
        below=below,
        nothing="No table was counted in this time.",
        choice=lambda: _choose_tables(known),
    )


def _choose_tables(known: Sequence[str]) -> None:
    with st.popover("Choose", icon=":material/tune:", type="tertiary", key="tables_menu"):
        st.pills(
            "Tables to show",
            known,
            selection_mode="multi",
            default=[name for name in SHOWN_TABLES if name in known],
            format_func=TABLE_TITLES.__getitem__,
            key="tables",
        )


def show_disks(view: View) -> None:
    """Will there be room tomorrow?"""
    newest = samples.newest(view.ctx, view.actor)
    for index, free in enumerate(view.series("disk.free_bytes")):
        total = newest.get(("disk.total_bytes", free.subject))
        if free.last is None or total is None:
            continue
        limit = total.value * DISK_LOW
        name = free.subject.replace(" + ", ", ")
        show_lines(
            view,
            f"Disk space: {name}",
            f"disk_{index}",
            [("free", THINGS["disk.free_bytes"], free)],
            Unit.BYTES,
            lead=f"{form.size(free.last.value)} free",
            below=f"{free.last.value / total.value:.0%} of {form.size(total.value)}",
            goal=charts.Goal(f"needs attention below {form.size(limit)}", limit),
            filled=True,
            nothing="",
        )


def show_vectors(ctx: Context, actor: Actor) -> None:
    """Do the vectors and the products of the newest backup belong to each other?"""
    newest = next(iter(backup.snapshots(ctx, actor, rows=1).rows), None)
    if newest is None:
        return
    made = f"in the backup of {form.when_short(newest.created_at, ctx.now())}"
    wrong = matching.mismatch(newest.missing_vectors, newest.stray_vectors)
    with card("Vectors and products", made, ""):
        if not wrong:
            st.markdown(":green[:material/check_circle:] No mismatch was found.", help=_VECTORS)
            return
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":orange[:material/warning:] {form.plain(wrong)}", help=_VECTORS)
            if st.button("See which", icon=":material/arrow_forward:", key="see_vectors"):
                st.switch_page("pages/backups.py", query_params={"snapshot": newest.id})


def card(
    title: str, lead: str, below: str, choice: Callable[[], None] | None = None
) -> st.delta_generator.DeltaGenerator:
    """A bordered card with its heading line; what follows goes inside."""
    box = st.container(
        border=True,
        height="stretch",
        gap="xsmall",
        key=f"card_{title.split(':')[0].lower().replace(' ', '_')}",
    )
    with box, st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{form.plain(title)}**", width="content")
        st.caption(" · ".join(filter(None, (lead, below))), width="content")
        if choice is not None:
            choice()
    return box


def empty(what: str, then: str) -> None:
    """Nothing to draw: say why, and what fills it."""
    st.markdown(f":gray[:material/show_chart: {what}]")
    st.caption(then)


def _told(value: float, unit: Unit) -> str:
    return form.size(value) if unit is Unit.BYTES else form.number(value)


def _growth(first: float, last: float, unit: Unit) -> str:
    if last == first:
        return "unchanged in this time"
    sign = "+" if last > first else "−"
    return f"{sign}{_told(abs(last - first), unit)} in this time"


def main() -> None:
    """Show the page."""
    ctx, actor = open_page("Monitoring", Permission.MONITORING_VIEW)
    with shown_errors():
        monitor.sample_if_old(ctx, actor)
        monitor.look(ctx, actor)
        alert_list.show(ctx, actor)
        view = choose(ctx, actor)
        with st.grid(2, min_column_width=340, gap="small"):
            show_results(view)
            show_sizes(view)
            show_growth(view)
            show_rows(view)
        show_vectors(ctx, actor)
        show_disks(view)
        with st.expander("How these are measured", icon=":material/info:"):
            st.markdown(
                "The desk measures after every backup and restore, and when this page or the "
                "Overview opens and the newest measurement is older than 15 minutes. For an "
                "even line, and to hear of alerts while nobody looks, let cron do it:"
            )
            st.code(CRON_LINE, language=None)


main()
