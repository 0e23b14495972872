"""What the shop answers, of several knowledge bases side by side, changes marked by word."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from services.knowledge.asking import Answer, Found, LookUp
from services.knowledge.entries import TEXT
from services.knowledge.releasing.model import AnswerChange
from services.knowledge.sections import part_at
from ui import format as form
from ui.kb_entry import field_title
from ui.kb_text import show_difference, show_text

NAMES = {
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

Named = tuple[str, Answer]
"""An answer, and whose it is."""


def names_of(look_ups: Sequence[LookUp]) -> str:
    """Several look-ups in a sentence: `as a colour and as a fabric`."""
    return form.listing([name[:1].lower() + name[1:] for name in map(NAMES.__getitem__, look_ups)])


def is_quiet(answers: Sequence[Named]) -> bool:
    """Whether nobody has an entry for it."""
    return all(one.found is not Found.ENTRY for _whose, one in answers)


def show_quiet(answer: Answer) -> None:
    """One line for a look-up that finds no entry anywhere."""
    with st.container(horizontal=True, gap="small", key=f"kb_answer_{answer.look_up.name}"):
        st.caption(f"**{NAMES[answer.look_up]}**", width="content")
        st.caption(_NONE[answer.found], width="content")


def show_side_by_side(answers: Sequence[Named]) -> None:
    """One column for each answer that differs from the one before it."""
    told = _together(answers)
    if len(told) == 1:
        if len(answers) > 1:
            st.caption(f":material/check: {_same(told[0][0])}")
        _show_texts(told[0][1])
        return
    finds = len({answer.key for _whose, answer in told if answer.found is Found.ENTRY})
    before: Answer | None = None
    for column, (whose, answer) in zip(st.columns(len(told), gap="medium"), told, strict=True):
        with column, st.container(gap="xsmall"):
            st.caption(f"**{form.listing(whose)}**{_found(answer) if finds > 1 else ''}")
            if before is None:
                _show_texts(answer)
            else:
                _show_changed(before, answer)
            before = answer


def show_change(change: AnswerChange, before: str, after: str) -> None:
    """The answers of one golden question that differ, before and after."""
    theirs = {one.look_up: one for one in change.before}
    for one in change.after:
        if one.look_up in change.changed:
            finds = {a.key for a in (theirs[one.look_up], one) if a.found is Found.ENTRY}
            key = _found(one) if len(finds) == 1 else ""
            st.markdown(f"**{NAMES[one.look_up]}**:small[:gray[{key}]]")
            show_side_by_side(((before, theirs[one.look_up]), (after, one)))


def _together(answers: Sequence[Named]) -> list[tuple[list[str], Answer]]:
    told: list[tuple[list[str], Answer]] = []
    for whose, answer in answers:
        if told and (told[-1][1].found, told[-1][1].texts) == (answer.found, answer.texts):
            told[-1] = ([*told[-1][0], whose], answer)
        else:
            told.append(([whose], answer))
    return told


def _same(whose: Sequence[str]) -> str:
    first, *others = whose
    return f"The same: {form.listing([first, *(one[:1].lower() + one[1:] for one in others)])}"


def _found(answer: Answer) -> str:
    return f" · finds {form.plain(answer.key)}" if answer.key else ""


def _show_texts(one: Answer) -> None:
    if one.found is not Found.ENTRY:
        st.caption(_NONE[one.found])
    for name, text in one.texts:
        _name(one, name)
        show_text(text)


def _show_changed(before: Answer, after: Answer) -> None:
    if after.found is not Found.ENTRY:
        st.caption(_NONE[after.found])
    old, new = dict(before.texts), dict(after.texts)
    for name in dict.fromkeys([*new, *old]):
        _name(after if name in new else before, name)
        if old.get(name) == new.get(name):
            show_text(new[name])
        else:
            show_difference(old.get(name), new.get(name))


def _name(one: Answer, name: str) -> None:
    if name != TEXT:
        part = part_at(one.section)
        st.caption(form.plain(field_title(part, name) if part else name))
