"""The life of a backup as a picture: where it lies from its first day to its last."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from services.protection.bucket.plan import Stage
from ui.theme import Palette, palette

_STYLE = """<style>
ol.life {{ display: flex; margin: 0.25rem 0 0.5rem !important; padding: 0 !important;
  list-style: none; }}
ol.life li {{ flex: 1 1 0; min-width: 0; position: relative; margin: 0;
  padding: 1.5rem 0.75rem 0 0; }}
.life li::before {{ content: ""; position: absolute; top: 0.36rem; left: 0; right: 0;
  border-top: 3px {line} {colour}; }}
.life li::after {{ content: ""; position: absolute; top: 0; left: 0; width: 0.9rem; height: 0.9rem;
  border-radius: 50%; background: {dot}; border: 3px solid {colour}; box-sizing: border-box; }}
.life .day {{ color: {muted}; font-size: 0.8rem; display: block; }}
.life .what {{ color: {text}; font-weight: 600; font-size: 0.95rem; display: block; }}
.life .note {{ color: {muted}; font-size: 0.85rem; display: block; }}
.life li:last-child::before {{ display: none; }}
{each}
@media (max-width: 640px) {{
  ol.life {{ flex-direction: column; }}
  ol.life li {{ padding: 0 0 1rem 1.6rem; }}
  .life li::before {{ top: 0.4rem; bottom: -0.4rem; left: 0.36rem; right: auto;
    border-top: 0; border-left: 3px solid {colour}; }}
  .life li::after {{ top: 0.25rem; }}
}}
</style>"""


def show(stages: Sequence[Stage]) -> None:
    """Draw it: beside each other on a screen, below each other on a phone."""
    colours = palette()
    items = "".join(
        f'<li class="s{number}"><span class="day">{_day(stage)}</span>'
        f'<span class="what">{escape(stage.title)}</span>'
        f'<span class="note">{escape(stage.note)}'
        f"{'' if stage.applied else ' (not in the bucket yet)'}</span></li>"
        for number, stage in enumerate(stages)
    )
    style = _STYLE.format(
        line="solid",
        colour=colours.made,
        dot=colours.surface,
        muted=colours.muted,
        text=colours.text,
        each="\n".join(_each(number, stage, colours) for number, stage in enumerate(stages)),
    )
    st.html(f'{style}<ol class="life" aria-label="Life of a backup">{items}</ol>')


def _each(number: int, stage: Stage, colours: Palette) -> str:
    gone = stage.note == "by retention"  # the others live on: the line does not end here
    colour = colours.muted if gone else colours.made
    line = "solid" if stage.applied else "dashed"
    return (
        f".life .s{number}::before {{ border-color: {colours.made}; border-top-style: {line}; }}"
        f".life .s{number}::after {{ border-color: {colour};"
        f" background: {colour if stage.applied and not gone else colours.surface}; }}"
    )


def _day(stage: Stage) -> str:
    return "Day 0" if stage.day == 0 else f"From day {stage.day}"
