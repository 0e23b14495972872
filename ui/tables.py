"""Tables that only show: plain data, never Markdown, with a text for screen readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

import streamlit as st

from services.watch.metrics import Unit
from services.watch.samples import Series
from ui import format as form

ROWS_SHOWN = 250
"""A table behind a chart shows the newest of so many rows."""


def on_phone() -> bool:
    """Whether the viewer's browser is a phone's, as it says of itself.

    A table that is drawn has its columns; on a phone only those that fit, for the others are
    beside the row as soon as it is chosen.
    """
    return "Mobi" in (st.context.headers.get("User-Agent") or "")


def show(columns: Mapping[str, Sequence[Any]], alt: str, *, key: str, height: int = 230) -> None:
    """A small table without an index.

    Args:
        columns: title -> values, all of one length.
        alt: what the table holds, for screen readers.
    """
    st.dataframe(dict(columns), hide_index=True, width="stretch", height=height, alt=alt, key=key)


def show_series(
    drawn: Sequence[tuple[str, Series]], unit: Unit, alt: str, *, key: str, zone: tzinfo
) -> None:
    """The values behind a line chart, newest first: one row per moment, one column per line."""
    moments = sorted({p.at for _name, series in drawn for p in series.points}, reverse=True)
    chosen = moments[:ROWS_SHOWN]
    columns: dict[str, list[str]] = {"Measured": [form.when(at, zone) for at in chosen]}
    for name, series in drawn:
        values: dict[datetime, float] = {p.at: p.value for p in series.points}
        columns[name] = [_value(values.get(at), unit) for at in chosen]
    show(columns, alt, key=key)


def _value(value: float | None, unit: Unit) -> str:
    return form.size(value) if unit is Unit.BYTES else form.number(value)
