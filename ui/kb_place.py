"""Where an entry stands among the others: up, down, to the top, to the end, before another."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.core.errors import DeskError, Invalid
from services.knowledge import browsing, moving
from services.knowledge.moving import Step
from services.knowledge.sections import Part
from ui import format as form
from ui.kb_drafts import Drafts
from ui.kb_grid import fold
from ui.messages import say_after_rerun, show_error

_STEPS = {
    Step.TOP: (":material/vertical_align_top:", "To the top"),
    Step.UP: (":material/arrow_upward:", "Up by one"),
    Step.DOWN: (":material/arrow_downward:", "Down by one"),
    Step.END: (":material/vertical_align_bottom:", "To the end"),
}
_ERROR = "kb_move_error"


def show_buttons(
    ctx: Context, actor: Actor, held: Drafts, part: Part, versions: Mapping[int, int], key: str
) -> None:
    """The buttons that move entries; each is a change set of its own, at once.

    Args:
        versions: of the entries that are moved, by id.
        key: tells these buttons from others on the page.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for step, (icon, words) in _STEPS.items():
            st.button(
                icon,
                key=f"{key}_{step.value}",
                type="tertiary",
                help=f"{words} in the whole part. The shop's assistant reads entries in order.",
                on_click=_step,
                args=(ctx, actor, held, dict(versions), step),
            )
        with st.popover("Before …", type="tertiary", key=f"{key}_popover"):
            other = st.text_input(
                "Before the entry with the key", key=f"{key}_other", max_chars=400
            ).strip()
            st.button(
                "Move",
                key=f"{key}_before",
                type="primary",
                disabled=not other,
                on_click=_before,
                args=(ctx, actor, held, part, dict(versions), other),
            )
    error = st.session_state.pop(_ERROR, None)
    if error is not None:
        show_error(error)


def _step(ctx: Context, actor: Actor, held: Drafts, versions: dict[int, int], step: Step) -> None:
    fold(held)
    words = _STEPS[step][1].lower()
    try:
        moving.step(ctx, actor, versions, step, f"Moved {words}")
    except DeskError as error:
        st.session_state[_ERROR] = error
    else:
        _said(versions, words)


def _before(
    ctx: Context, actor: Actor, held: Drafts, part: Part, versions: dict[int, int], other: str
) -> None:
    fold(held)
    try:
        found = browsing.entry_named(ctx, actor, part.pointer, other)
        number = found.id if found else None
        if number is None:
            st.session_state[_ERROR] = _unknown(other)
            return
        moving.move(ctx, actor, versions, before=number, reason=f"Moved before {other[:200]}")
    except DeskError as error:
        st.session_state[_ERROR] = error
    else:
        _said(versions, f"before {other}")


def _unknown(other: str) -> DeskError:
    return Invalid(
        f"There is no entry {other[:60]} in this part; nothing was moved.",
        "Type the key exactly as the table shows it.",
    )


def _said(versions: Mapping[int, int], words: str) -> None:
    what = form.plural(len(versions), "entry", "entries")
    say_after_rerun(f"{what} moved {words}. History takes it back.", ":material/swap_vert:")
