"""The charts. Each is a plotly figure in the desk's own dress; pages show it with `draw`.

Every chart has a text for screen readers and the same values as a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import streamlit as st

from services.protection.model import DayMark, DayState
from services.watch.metrics import Unit
from ui import format as form
from ui.theme import MARK_WORDS, Palette, mark_colour

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_HEIGHTS = {
    DayMark.VERIFIED: 1.0,
    DayMark.MADE: 0.62,
    DayMark.FAILED: 1.0,
    DayMark.MISSING: 0.22,
    DayMark.BEFORE: 0.06,
}
"""Of the ticks of the strip: the marks differ in height too, not in colour alone."""

_HEIGHT = 230
_PLOT_PIXELS = 185
"""Of a chart and of the plot in it, without the axis."""

_FEW = 12
"""So few measurements are drawn as dots too: a line between two of today can't be seen."""

_ROOM = 1.16
"""Headroom above the highest value: the labels of the lines stand there."""

_CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    colour: str
    times: Sequence[datetime]
    values: Sequence[float]
    filled: bool = False


@dataclass(frozen=True)
class Goal:
    """A limit or goal across a chart."""

    name: str
    value: float


def strip(days: Sequence[DayState], colours: Palette) -> Figure:
    """One tick per day: verified, made, failed, missing; the year stands on the axis."""
    figure = _figure(colours, height=104)
    for mark in DayMark:
        chosen = [day for day in days if day.mark is mark]
        if not chosen:
            continue
        figure.add_bar(
            x=[day.day for day in chosen],
            y=[_HEIGHTS[mark]] * len(chosen),
            customdata=[[day.day.isoformat(), _day_text(day)] for day in chosen],
            hovertemplate="%{customdata[1]}<extra></extra>",
            marker={"color": mark_colour(mark, colours), "line": {"width": 0}},
            width=0.78 * 86_400_000,
            name=MARK_WORDS[mark],
            text="×" if mark is DayMark.FAILED else "",
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": colours.surface, "size": 12},
            constraintext="none",
            unselected={"marker": {"opacity": 0.45}},
        )
    figure.update_layout(barmode="overlay", bargap=0, clickmode="event+select", dragmode=False)
    figure.update_yaxes(visible=False, range=[0, 1.02], fixedrange=True)
    figure.update_xaxes(showgrid=False, fixedrange=True, **_day_axis([day.day for day in days]))
    return figure


def strip_words(days: Sequence[DayState]) -> str:
    """The strip in words, for screen readers."""
    counts = ", ".join(
        f"{sum(day.mark is mark for day in days)} {word}"
        for mark, word in MARK_WORDS.items()
        if any(day.mark is mark for day in days)
    )
    bad = [f"{day.day:%d %b %Y}" for day in days if day.mark is DayMark.FAILED]
    failed = f" Failed on {', '.join(bad)}." if bad else ""
    return f"Backups of the last {len(days)} days: {counts}.{failed}"


def results(
    per_day: Sequence[tuple[date, int, int]], colours: Palette, *, since: date, until: date
) -> Figure:
    """Backups per day, stacked: succeeded below, failed above.

    Args:
        per_day: (day, how many succeeded, how many failed).
    """
    figure = _figure(colours, height=_HEIGHT)
    for index, name, colour in ((1, "succeeded", colours.ok), (2, "failed", colours.bad)):
        figure.add_bar(
            x=[row[0] for row in per_day],
            y=[row[index] for row in per_day],
            name=name,
            marker={
                "color": colour,
                "line": {"width": 0},
                "pattern": {
                    "shape": "x" if name == "failed" else "",
                    "size": 5,
                    "fillmode": "overlay",
                    "fgcolor": colours.surface,
                    "fgopacity": 0.9,
                },
            },
            hovertemplate=f"%{{x|%a %d %b %Y}}: %{{y}} {name}<extra></extra>",
            width=0.78 * 86_400_000,
        )
    most = max((row[1] + row[2] for row in per_day), default=1)
    figure.update_layout(barmode="stack", bargap=0, dragmode=False)
    figure.update_yaxes(
        range=[0, most * 1.15], dtick=max(1, -(-most // 4)), tickformat="d", fixedrange=True
    )
    _time_axis(figure, since, until)
    return figure


def lines(
    drawn: Sequence[Line],
    unit: Unit,
    colours: Palette,
    *,
    since: date,
    until: date,
    zone: tzinfo,
    goal: Goal | None = None,
) -> Figure:
    """Lines over time, zero-based, each named at its end instead of in a legend."""
    figure = _figure(colours, height=_HEIGHT)
    top = max([value for line in drawn for value in line.values] + ([goal.value] if goal else [0]))
    scale, name = _scale(unit, top)
    for line in drawn:
        figure.add_scatter(
            x=[at.astimezone(zone).replace(tzinfo=None) for at in line.times],
            y=[value / scale for value in line.values],
            mode="lines" if len(line.times) > _FEW else "lines+markers",
            line={"color": line.colour, "width": 2, "shape": "linear"},
            marker={"color": line.colour, "size": 7},
            cliponaxis=False,
            fill="tozeroy" if line.filled else "none",
            fillcolor=_faint(line.colour),
            name=line.name,
            customdata=[_value(value, unit) for value in line.values],
            hovertemplate=f"{line.name}: %{{customdata}}<br>%{{x|%d %b %Y, %H:%M}}<extra></extra>",
        )
    if goal is not None:
        figure.add_hline(
            y=goal.value / scale,
            line={"color": colours.warning, "width": 1.5, "dash": "dash"},
            annotation={
                "text": goal.name,
                "font": {"color": colours.warning, "size": 12},
                "showarrow": False,
                "xanchor": "left",
                "x": 0,
                "yanchor": "bottom",
            },
        )
    figure.update_yaxes(
        range=[0, top / scale * _ROOM or 1], ticksuffix=f" {name}".rstrip(), fixedrange=True
    )
    figure.update_layout(hovermode="closest", dragmode=False)
    _time_axis(figure, since, until)
    # Up to the end of the last day: what was measured this evening belongs to it.
    figure.update_xaxes(range=[since, until + timedelta(days=1)])
    _label_ends(figure, drawn, unit, scale, top, colours)
    return figure


def draw(figure: Figure, key: str, words: str, **more: Any) -> Any:
    """Show a figure without plotly's tool bar, with its text for screen readers."""
    return st.plotly_chart(
        figure, width="stretch", theme=None, key=key, alt=words, config=_CONFIG, **more
    )


def _figure(colours: Palette, *, height: int) -> Figure:
    from plotly.graph_objects import Figure

    figure = Figure()
    figure.update_layout(
        height=height,
        margin={"l": 0, "r": 0, "t": 6, "b": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "Source Sans, sans-serif", "size": 12.5, "color": colours.muted},
        showlegend=False,
        hoverlabel={
            "bgcolor": colours.surface,
            "bordercolor": colours.none,
            "font": {"color": colours.text, "size": 13},
            "align": "left",
        },
    )
    figure.update_xaxes(showgrid=False, zeroline=False, linecolor=colours.none, automargin=True)
    figure.update_yaxes(gridcolor=colours.none, zeroline=False, automargin=True, nticks=5)
    return figure


def _time_axis(figure: Figure, since: date, until: date) -> None:
    count = max((until - since).days, 1)
    figure.update_xaxes(
        range=[since - timedelta(hours=12), until + timedelta(hours=12)],
        fixedrange=True,
        **_day_axis([since + timedelta(days=n) for n in range(count + 1)]),
    )


def _day_axis(days: Sequence[date]) -> dict[str, Any]:
    """About six labels, the first and each new year with its year."""
    if not days:
        return {}
    step = next(
        (size for size in (1, 2, 7, 14, 30, 61) if len(days) / size <= 7), len(days) // 6 or 1
    )
    # Counted back from the newest day, which is what people look for.
    chosen = sorted(days[::-1][step // 2 :: step])
    texts, year = [], 0
    for day in chosen:
        texts.append(f"{day.day} {day:%b}" + (f"<br>{day.year}" if day.year != year else ""))
        year = day.year
    return {"tickmode": "array", "tickvals": chosen, "ticktext": texts, "tickangle": 0}


def _day_text(day: DayState) -> str:
    head = f"<b>{day.day:%a} {day.day.day} {day.day:%b %Y}</b>: {MARK_WORDS[day.mark]}"
    if day.snapshots:
        head += f"<br>{form.plural(len(day.snapshots), 'backup')}"
    if day.errors:
        head += f"<br>{form.plural(len(day.errors), 'failed run')}"
    return head + "<br>click to open" if day.snapshots or day.errors else head


def _scale(unit: Unit, top: float) -> tuple[float, str]:
    if unit is not Unit.BYTES:
        return 1.0, ""
    for power, name in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if top >= 1000**power:
            return 1000.0**power, name
    return 1.0, "bytes"


def _value(value: float, unit: Unit) -> str:
    return form.size(value) if unit is Unit.BYTES else form.number(value)


def _faint(colour: str, opacity: float = 0.12) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _label_ends(
    figure: Figure, drawn: Sequence[Line], unit: Unit, scale: float, top: float, colours: Palette
) -> None:
    """Write name and newest value above the end of each line, pushed apart where they meet."""
    apart = (top or 1) * _ROOM * 19 / _PLOT_PIXELS
    ends = sorted((line for line in drawn if line.values), key=lambda line: line.values[-1])
    places: list[float] = []
    for line in ends:
        places.append(max(line.values[-1], places[-1] + apart if places else 0.0))
    ceiling = (top or 1) * _ROOM - apart
    for index in reversed(range(len(places))):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - apart
    for line, place in zip(ends, places, strict=True):
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="right",
            y=place / scale,
            yanchor="bottom",
            yshift=3,
            text=f"<span style='color:{line.colour}'>━</span> {line.name} "
            f"<b>{_value(line.values[-1], unit)}</b>",
            font={"color": colours.text, "size": 12.5},
            bgcolor=_faint(colours.surface, 0.7),
            borderpad=0,
            showarrow=False,
        )
