"""The colours are one set, and words on them can be read."""

from __future__ import annotations

import tomllib

import pytest

from services.core.settings import PROJECT_ROOT
from services.protection.model import DayMark
from services.watch.metrics import MAIN_TABLES, METRICS, Unit
from services.watch.posture import State, Tone
from ui import theme

THEME = tomllib.loads((PROJECT_ROOT / ".streamlit" / "config.toml").read_text())["theme"]
MODES = [("light", theme.LIGHT), ("dark", theme.DARK)]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("mode", "colours"), MODES)
def test_charts_and_words_use_the_same_state_colours(mode, colours):
    configured = THEME[mode]
    assert configured["greenTextColor"] == colours.ok
    assert configured["orangeTextColor"] == colours.warning
    assert configured["redTextColor"] == colours.bad
    assert configured["textColor"] == colours.text
    assert configured["backgroundColor"] == colours.surface


@pytest.mark.parametrize(("mode", "colours"), MODES)
def test_words_can_be_read_on_what_lies_below_them(mode, colours):
    assert contrast("#FFFFFF", THEME[mode]["primaryColor"]) >= 4.5
    for word in (colours.text, colours.muted, colours.ok, colours.warning, colours.bad):
        assert contrast(word, colours.surface) >= 4.5, word
    for line in {*theme.THINGS.values()} - {theme.ORANGE, theme.SKY, theme.GREY}:
        assert contrast(line, colours.surface) >= 3, line


def test_everything_that_is_drawn_or_judged_has_its_colour_and_word():
    drawn = {name for name, metric in METRICS.items() if metric.unit is Unit.BYTES}
    assert drawn - {"disk.total_bytes"} <= set(theme.THINGS)
    assert set(MAIN_TABLES) <= set(theme.THINGS)
    assert set(theme.STATE_WORDS) == set(State) and set(theme.TONE_ICONS) == set(Tone)
    assert set(theme.MARK_WORDS) == set(theme.MARK_COLOURS) == set(DayMark)
    for mark in DayMark:
        assert theme.mark_colour(mark, theme.LIGHT)
