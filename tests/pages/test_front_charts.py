"""What is measured can be seen in the charts, and read without them."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

from services.protection.model import DayMark, DayState
from services.watch.metrics import Unit
from ui import charts
from ui.theme import LIGHT

NOW = datetime(2026, 11, 22, 21, 15, tzinfo=UTC)
SINCE = date(2026, 8, 24)


def drawn(*values: float, unit: Unit = Unit.BYTES):
    found = [charts.Line(f"line {n}", "#0072B2", [NOW], [value]) for n, value in enumerate(values)]
    return charts.lines(
        found, unit, LIGHT, since=SINCE, until=NOW.date(), zone=UTC, goal=charts.Goal("goal", 1.0)
    )


def test_what_was_measured_this_evening_lies_within_the_axis_and_is_a_dot():
    figure = drawn(5.0)
    (line,) = (trace for trace in figure.data if trace.name == "line 0")
    assert "markers" in line.mode
    start, end = figure.layout.xaxis.range
    assert datetime.combine(start, datetime.min.time()) <= line.x[0]
    assert line.x[0] <= datetime.combine(end, datetime.min.time())
    assert figure.layout.yaxis.range[0] == 0


def test_labels_of_lines_that_meet_stay_apart_and_inside_the_chart():
    figure = drawn(100.0, 100.0, 100.0, 0.0)
    places = sorted(note.y for note in figure.layout.annotations if note.text != "goal")
    top = figure.layout.yaxis.range[1]
    assert all(later - earlier >= top * 0.09 for earlier, later in itertools.pairwise(places))
    assert places[0] > 0 and places[-1] <= top and figure.layout.margin.t >= 18
    assert all(note.xanchor == "left" for note in figure.layout.annotations if note.text != "goal")
    assert figure.layout.margin.r > 60


def test_points_of_one_value_are_all_visible_and_dots_are_of_one_size_elsewhere():
    assert [trace.marker.size for trace in drawn(100.0, 100.0, 10.0).data] == [12, 7, 7]


def test_a_line_of_many_points_has_a_dot_at_its_end_alone():
    times = [NOW - timedelta(days=n) for n in range(60, -1, -1)]
    line = charts.Line("rows", "#0072B2", times, [float(n) for n in range(61)])
    figure = charts.lines([line], Unit.ROWS, LIGHT, since=SINCE, until=NOW.date(), zone=UTC)
    sizes = figure.data[0].marker.size
    assert sizes[-1] == 7 and not any(sizes[:-1]) and figure.data[0].marker.opacity == 1


def test_the_bar_of_today_is_whole_and_few_days_are_named():
    figure = charts.results([(NOW.date(), 1, 0)], LIGHT, since=SINCE, until=NOW.date())
    end = datetime.combine(figure.layout.xaxis.range[1], datetime.min.time())
    assert figure.data[0].x[0] + timedelta(hours=10) < end
    assert len(figure.layout.xaxis.tickvals) <= 5


def test_a_chart_of_nothing_but_zeros_can_be_drawn():
    assert drawn(0.0, unit=Unit.ROWS).layout.yaxis.range[1] > 0


def test_the_strip_tells_days_apart_without_colour_and_names_the_year():
    marks = [*DayMark] * 12
    first = date(2026, 12, 1)
    days = [
        DayState(first + timedelta(days=n), mark, ("a",) if mark is DayMark.MADE else (), ("x",))
        for n, mark in enumerate(marks)
    ]
    figure = charts.strip(days, LIGHT)
    heights = {trace.name: trace.y[0] for trace in figure.data}
    texts = {trace.name: trace.text for trace in figure.data}
    assert len(heights) == len(DayMark)
    assert len(set(heights.values())) == len(DayMark) - 1 and texts["failed"] == "×"
    assert any("2026" in text for text in figure.layout.xaxis.ticktext)
    assert any("2027" in text for text in figure.layout.xaxis.ticktext)
    words = charts.strip_words(days)
    assert "12 verified" in words and "Failed on 03 Dec 2026" in words
