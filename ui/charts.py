"""The charts. Each is a plotly figure in the desk's own dress; pages show it with `draw`.

Every chart has a text for screen readers and the same values as a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
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
"""So few measurements are all drawn as dots: a line between two of today can't be seen."""

_ROOM = 1.08
"""Headroom above the highest value: its dot is not cut."""

_LABEL_PIXELS = 36
_CHARACTER_PIXELS = 7.2
"""Of the label at the end of a line: two lines of text, and room for its widest letters."""

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
            x=[_noon(row[0]) for row in per_day],
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
    for index, line in enumerate(drawn):
        # Rings around dots: where lines of one value meet, each of them can be seen.
        above = sum(_meet(line, other, top) for other in drawn[index + 1 :])
        dot = 7 + 5 * above
        few, rest = len(line.times) <= _FEW, len(line.times) - 1
        figure.add_scatter(
            x=[at.astimezone(zone).replace(tzinfo=None) for at in line.times],
            y=[value / scale for value in line.values],
            mode="lines+markers",
            line={"color": line.colour, "width": 2, "shape": "linear"},
            marker={
                "color": line.colour,
                "size": dot if few else [0] * rest + [7],
                "opacity": 1,
                "line": {"color": colours.surface, "width": 1},
            },
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
    ceiling = top * _ROOM or scale
    figure.update_yaxes(range=[0, ceiling / scale], ticksuffix=f" {name}".rstrip(), fixedrange=True)
    figure.update_layout(hovermode="closest", dragmode=False)
    _time_axis(figure, since, until)
    _label_ends(figure, drawn, unit, scale, ceiling, colours)
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
    """Whole days: what was measured this evening belongs to the last one."""
    days = [since + timedelta(days=n) for n in range((until - since).days + 1)]
    labels = _day_axis(days, most=5)
    labels["tickvals"] = [_noon(day) for day in labels["tickvals"]]
    figure.update_xaxes(range=[since, until + timedelta(days=1)], fixedrange=True, **labels)


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12))


def _meet(line: Line, other: Line, top: float) -> bool:
    """Whether the ends of two lines lie on each other."""
    if not line.values or not other.values:
        return False
    return abs(line.values[-1] - other.values[-1]) < 0.04 * top


def _day_axis(days: Sequence[date], most: int = 7) -> dict[str, Any]:
    """At most so many labels, the first and each new year with its year."""
    if not days:
        return {}
    step = next(
        (size for size in (1, 2, 7, 14, 21, 30, 61, 91) if len(days) / size <= most),
        len(days) // most + 1,
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
    figure: Figure,
    drawn: Sequence[Line],
    unit: Unit,
    scale: float,
    ceiling: float,
    colours: Palette,
) -> None:
    """Write name and newest value of each line beside its end, in a margin of their own.

    Labels of lines that meet are pushed apart, so that none lies on another or outside.

    Args:
        ceiling: where the value axis ends.
    """
    ends = sorted((line for line in drawn if line.values), key=lambda line: line.values[-1])
    texts = [(line.name, _value(line.values[-1], unit)) for line in ends]
    longest = max((len(word) for text in texts for word in text), default=0)
    plot = max(_PLOT_PIXELS, len(ends) * _LABEL_PIXELS)
    figure.update_layout(
        height=plot + _HEIGHT - _PLOT_PIXELS,
        margin={"r": round(longest * _CHARACTER_PIXELS) + 14, "t": _LABEL_PIXELS // 2},
    )
    apart = ceiling * _LABEL_PIXELS / plot
    for line, text, place in zip(
        ends, texts, _apart([line.values[-1] for line in ends], apart, ceiling), strict=True
    ):
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            xshift=9,
            y=place / scale,
            yanchor="middle",
            text=f"<span style='color:{line.colour}'>●</span> {text[0]}<br><b>{text[1]}</b>",
            font={"color": colours.text, "size": 12.5},
            align="left",
            borderpad=0,
            showarrow=False,
        )


def _apart(wanted: Sequence[float], apart: float, ceiling: float) -> list[float]:
    """Places as near as can be to the wanted ones (ascending), at least `apart` from another.

    The lowest keeps half a label above the axis, where the days stand; the highest may reach
    half a label above the frame, for which there is a margin.
    """
    places: list[float] = []
    for value in wanted:
        places.append(max(value, places[-1] + apart if places else apart / 2))
    for index in reversed(range(len(places))):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - apart
    return places
