"""Texts of the knowledge base on a page: shown as they are, never as Markdown or markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import streamlit as st

from services.knowledge.wording import Mark, Piece, compare

_BOX = (
    "white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext;line-height:1.5;"
    "margin:0;font-size:0.92rem"
)
_STYLES = {
    Mark.SAME: "",
    Mark.GONE: "background:rgba(220,38,38,0.16);text-decoration:line-through;"
    "text-decoration-color:rgba(220,38,38,0.7)",
    Mark.NEW: "background:rgba(22,163,74,0.20);text-decoration:none",
}
_TAGS = {Mark.SAME: "span", Mark.GONE: "del", Mark.NEW: "ins"}

_FOUND = '<mark style="background:rgba(245,158,11,0.32);color:inherit;border-radius:2px">'

_CONTEXT = 160
_SHOWN = 6_000


def show_text(text: str) -> None:
    """A text as it is, with its line breaks."""
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + " …"
    if not shown.strip():
        st.caption("(empty)")
        return
    st.html(f'<div style="{_BOX}">{escape(shown)}</div>')


def marked(text: str, ranges: Iterable[tuple[int, int]]) -> str:
    """A text as markup that shows it as it is, with these ranges (start, end) underlaid."""
    pieces, at = [], 0
    for start, end in ranges:
        pieces += [escape(text[at:start]), _FOUND, escape(text[start:end]), "</mark>"]
        at = end
    return "".join([*pieces, escape(text[at:])])


def show_difference(before: str | None, after: str | None) -> None:
    """What changed, word by word: gone is struck through, new is underlaid."""
    if before is None or after is None:
        mark = Mark.NEW if before is None else Mark.GONE
        pieces: tuple[Piece, ...] = (Piece(mark, after or before or ""),)
    else:
        pieces = compare(before, after)
    body = "".join(_html(piece) for piece in _shortened(pieces))
    st.html(f'<div style="{_BOX}">{body or "(empty)"}</div>')


def _html(piece: Piece) -> str:
    tag = _TAGS[piece.mark]
    text = escape(piece.text)
    if piece.mark is not Mark.SAME:
        # A line break that came or went is invisible without a sign.
        text = text.replace("\n", "↵\n")
    return f'<{tag} style="{_STYLES[piece.mark]}">{text}</{tag}>'


def _shortened(pieces: tuple[Piece, ...]) -> list[Piece]:
    """The changed places with some text around them."""
    found: list[Piece] = []
    room = _SHOWN
    for index, piece in enumerate(pieces):
        text = piece.text
        if piece.mark is Mark.SAME and len(text) > 2 * _CONTEXT + 40 and len(pieces) > 1:
            head = text[:_CONTEXT] if index else ""
            tail = text[-_CONTEXT:] if index < len(pieces) - 1 else ""
            text = f"{head} … {tail}"
        if len(text) > room:
            found.append(Piece(piece.mark, text[:room] + " …"))
            break
        room -= len(text)
        found.append(Piece(piece.mark, text))
    return found


def show_preview(stored: str | None, text: str, *, key: str) -> None:
    """A text as the shop will say it, or what would change in it.

    Args:
        stored: what the knowledge base says now; None for a text that is new.
        key: of the widget that chooses between the two.
    """
    views = ["As the shop says it", "What changes"]
    view = st.segmented_control(
        "Preview", views, default=views[0], required=True, label_visibility="collapsed", key=key
    )
    with st.container(border=True, height=420):
        if view == views[0]:
            show_text(text)
        elif stored == text:
            st.caption("Nothing: the knowledge base says exactly this.")
        else:
            show_difference(stored, text)
    lines = text.count("\n") + 1 if text else 0
    st.caption(f"{len(text):,} characters, {lines:,} {'line' if lines == 1 else 'lines'}")
