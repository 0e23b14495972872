"""Ask what a customer would ask, and see what the shop answers today and would answer then."""

from __future__ import annotations

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.knowledge import inspecting
from services.knowledge.asking import Answer, Found, LookUp
from services.knowledge.entries import TEXT
from services.knowledge.inspecting import MAX_QUESTION, TryOut
from services.knowledge.sections import part_at
from ui import format as form
from ui.kb_entry import field_title
from ui.kb_text import show_difference, show_text

_QUESTION = "ask"
_EXAMPLES = ("navy", "silk blouse", "job interview", "black tie")
_NAMES = {
    LookUp.COLOUR: "As a colour",
    LookUp.FABRIC: "As a fabric",
    LookUp.OCCASION: "As an occasion",
    LookUp.DRESS_CODE: "As a dress code",
    LookUp.OUTFIT: "As part of an outfit",
}
_NONE = {
    Found.GENERAL: "The shop's general sentence: no entry fits.",
    Found.NOTHING: "Nothing: no entry fits.",
}


def show_try(ctx: Context, actor: Actor) -> None:
    """A question, and the answers of every look-up side by side."""
    question = st.text_input(
        "What would a customer ask?",
        key=_QUESTION,
        placeholder="navy, silk blouse, job interview, black tie",
        icon=":material/search:",
        max_chars=MAX_QUESTION,
    ).strip()
    if not question:
        with st.container(horizontal=True, gap="small"):
            for example in _EXAMPLES:
                st.button(
                    example,
                    key=f"kb_try_{example.replace(' ', '_')}",
                    on_click=_ask,
                    args=(example,),
                )
        st.caption("The answers come from the shop's own look-ups, told word for word.")
        return
    found = inspecting.try_out(ctx, actor, question)
    _show_summary(found)
    theirs = dict.fromkeys(LookUp) | {one.look_up: one for one in found.shop or ()}
    for one in found.here:
        _show_answer(one, theirs[one.look_up], found)


def _ask(question: str) -> None:
    st.session_state[_QUESTION] = question


def _show_summary(found: TryOut) -> None:
    if found.shop is None:
        st.caption(
            f":material/info: Only what is saved here is asked. {form.plain(found.shop_says)}"
        )
    elif found.changed:
        names = " and ".join(str(_NAMES[one]).lower() for one in found.changed)
        st.caption(f":material/difference: The shop would answer differently: {names}.")
    else:
        st.caption(":material/check: The shop answers the same today.")


def _show_answer(here: Answer, theirs: Answer | None, found: TryOut) -> None:
    if here.found is not Found.ENTRY and (theirs is None or theirs.found is not Found.ENTRY):
        with st.container(horizontal=True, gap="small", key=f"kb_answer_{here.look_up.name}"):
            st.caption(f"**{_NAMES[here.look_up]}**", width="content")
            st.caption(_NONE[here.found], width="content")
        return
    with st.container(border=True, key=f"kb_answer_{here.look_up.name}"):
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            st.markdown(f"**{_NAMES[here.look_up]}**", width="content")
            if here.found is Found.ENTRY:
                st.caption(f"finds {form.plain(here.key)}", width="content")
        if theirs is None:
            _show_texts(here)
            return
        if here.look_up not in found.changed:
            _show_texts(here)
            return
        today, then = st.columns(2, gap="medium")
        with today:
            st.caption("The shop today")
            _show_texts(theirs)
        with then:
            st.caption("As saved here")
            _show_changed(theirs, here)


def _show_texts(one: Answer) -> None:
    if one.found is not Found.ENTRY:
        st.caption(_NONE[one.found])
    for name, text in one.texts:
        _name(one, name)
        show_text(text)


def _show_changed(theirs: Answer, here: Answer) -> None:
    if here.found is not Found.ENTRY:
        st.caption(_NONE[here.found])
    before = dict(theirs.texts)
    for name, text in here.texts:
        _name(here, name)
        show_difference(before.get(name), text)


def _name(one: Answer, name: str) -> None:
    if name != TEXT:
        part = part_at(one.section)
        st.caption(form.plain(field_title(part, name) if part else name))
