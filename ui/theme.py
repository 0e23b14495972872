"""Colours: of states (never without a word or an icon) and of the things in charts."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from services.protection.model import DayMark
from services.watch.posture import State, Tone


@dataclass(frozen=True)
class Palette:
    """The colours that charts need, for one of the two modes."""

    ok: str
    warning: str
    bad: str
    made: str  # a backup that was read back and is not proven yet
    none: str  # nothing there; also grid lines
    text: str
    muted: str
    surface: str


LIGHT = Palette(
    ok="#15803D",
    warning="#B45309",
    bad="#B91C1C",
    made="#8CC7C1",
    none="#E3E7EB",
    text="#16202A",
    muted="#5B6672",
    surface="#FFFFFF",
)
DARK = Palette(
    ok="#34D399",
    warning="#FBBF24",
    bad="#F87171",
    made="#5EAAA2",
    none="#2A3238",
    text="#E6EAED",
    muted="#9AA5AF",
    surface="#0F1417",
)

ACCENT_LIGHT, ACCENT_DARK = "#0F766E", "#2DD4BF"
"""The accent as words: the links' colour, for whatever is chosen among several."""

_STYLE = """<style>
[data-testid="stCaptionContainer"] {{ opacity: 1; color: {muted}; }}
button[data-selected="true"] p, [data-testid="stTab"][aria-selected="true"] p {{ color: {accent}; }}
button[kind="tertiary"]:hover, button[kind="tertiary"]:active {{ color: {accent}; }}
[data-testid="stMainBlockContainer"] {{ max-width: 100rem; }}
@media (min-width: 768px) {{
  [data-testid="stMainBlockContainer"] {{ padding-left: 2.75rem; padding-right: 2.75rem; }}
}}
@media (max-width: 640px) {{
  [data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"] [class*="st-key-chosen_"]) {{
    flex-direction: column-reverse; flex-wrap: nowrap;
  }}
  .st-key-filters > * {{ flex: 1 1 8.5rem; width: auto !important; max-width: 100%; }}
  .st-key-filters > .st-key-q, .st-key-filters > .st-key-find,
  .st-key-filters > .st-key-state {{ flex-basis: 100%; }}
  .st-key-filters > :not([class*="st-key-"]) {{ display: none; }}
  .st-key-kb_wide, .st-key-kb_open {{ display: none; }}
  .st-key-kb_sections > * + * {{
    border-top: 1px solid {line}; padding-top: 0.5rem;
    margin-top: 0.6rem;
  }}
}}
@media (min-width: 641px) {{ .st-key-kb_narrow {{ display: none; }} }}
.st-key-kb_narrow label {{ padding-top: 0.35rem; }}
[class*="st-key-kb_cells_"],
[class*="st-key-kb_ticked_"] [data-testid="stCaptionContainer"] {{ padding-left: 1.6rem; }}
.st-key-remove button:not(:disabled) {{
  background: {danger}; border-color: {danger}; color: #FFFFFF;
}}
.st-key-remove button:not(:disabled):hover {{ filter: brightness(0.92); }}
[class*="st-key-list_of_"] [data-testid="stElementToolbar"] {{ display: none; }}
[data-testid="stColumn"]:has([class*="st-key-nothing_chosen"]) {{ display: none; }}
</style>"""

BLUE, ORANGE, GREEN, PINK, SKY, VERMILION, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#999999",
)
"""Okabe and Ito's colours, which people with any colour vision tell apart."""

THINGS: dict[str, str] = {
    "shop.database_bytes": BLUE,
    "vectors.bytes": PINK,
    "images.bytes": SKY,
    "control.bytes": GREY,
    "backup.data_bytes": BLUE,
    "backup.stored_bytes": ORANGE,
    "disk.free_bytes": GREEN,
    "orders": VERMILION,
    "order_items": ORANGE,
    "products": BLUE,
    "users": GREEN,
    "cart_items": SKY,
    "kb_entries": PINK,
}
"""The colour of each thing, the same on every page."""

STATE_WORDS: dict[State, tuple[str, str, str]] = {
    State.SAFE: ("Safe", "verified_user", "green"),
    State.AT_RISK: ("At risk", "gpp_maybe", "orange"),
    State.UNPROTECTED: ("Not protected yet", "remove_moderator", "red"),
}
"""Of each state: its word, icon and Markdown colour."""

TONE_ICONS: dict[Tone, tuple[str, str]] = {
    Tone.BAD: ("error", "red"),
    Tone.WARNING: ("warning", "orange"),
    Tone.NOTE: ("info", "gray"),
}
"""Of each finding's tone: icon and Markdown colour."""

MARK_WORDS: dict[DayMark, str] = {
    DayMark.VERIFIED: "verified",
    DayMark.MADE: "not verified yet",
    DayMark.FAILED: "failed",
    DayMark.MISSING: "missing",
    DayMark.BEFORE: "not counted",
}


MARK_COLOURS: dict[DayMark, str] = {
    DayMark.VERIFIED: "green",
    DayMark.MADE: "primary",
    DayMark.FAILED: "red",
    DayMark.MISSING: "orange",
    DayMark.BEFORE: "gray",
}
"""Of each mark: the Markdown colour of its icon."""


def palette() -> Palette:
    """The colours of the mode that the viewer sees."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def dress() -> None:
    """What the theme's settings can't say: words that can be read, room, quiet tables.

    Streamlit fades captions to 60 %, which is too faint for small words, and writes what is
    chosen in the accent of buttons, which is too dark on a dark page. On a phone what was
    chosen in a list comes first, not below the list; and the tool bar of a table that only
    shows would lie over the filters above it. There the wide table of a section's entries is a
    list. A list has the whole width until a row of it is chosen; taking it out of its column
    then would lose the choice. The one button that can't be undone is red.
    """
    colours = palette()
    accent = ACCENT_DARK if colours is DARK else ACCENT_LIGHT
    st.html(_STYLE.format(muted=colours.muted, accent=accent, line=colours.none, danger=LIGHT.bad))


def mark_colour(mark: DayMark, colours: Palette) -> str:
    """The colour of a day in the strip."""
    return {
        DayMark.VERIFIED: colours.ok,
        DayMark.MADE: colours.made,
        DayMark.FAILED: colours.bad,
        DayMark.MISSING: colours.warning,
        DayMark.BEFORE: colours.none,
    }[mark]
