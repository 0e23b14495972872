"""Ask what a customer would ask, and see what the shop answers today and would answer then."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import DeskError
from services.knowledge import trying
from services.knowledge.asking import Answer, Found
from services.knowledge.releasing import golden
from services.knowledge.trying import MAX_QUESTION, Side, Source, TryOut
from ui import format as form
from ui import kb_golden, kb_where
from ui.kb_answers import NAMES, Named, is_quiet, names_of, show_quiet, show_side_by_side
from ui.kb_drafts import Drafts
from ui.messages import say_after_rerun, show_error

_EXAMPLES = ("navy", "silk blouse", "job interview", "black tie")


def show_try(ctx: Context, actor: Actor, held: Drafts) -> None:
    """A question with its answers side by side, and the questions that are asked every time."""
    question = st.text_input(
        "What would a customer ask?",
        key=kb_golden.QUESTION,
        placeholder="navy, silk blouse, job interview, black tie",
        icon=":material/search:",
        max_chars=MAX_QUESTION,
    ).strip()
    if question:
        _show_answers(ctx, actor, question, held)
        st.space("small")
    else:
        with st.container(horizontal=True, gap="small", key="kb_examples"):
            for example in _EXAMPLES:
                st.button(
                    example,
                    key=f"kb_try_{example.replace(' ', '_')}",
                    on_click=kb_golden.ask,
                    args=(example,),
                )
        st.caption("The answers come from the shop's own look-ups, told word for word.")
    kb_golden.show_golden(ctx, actor)


def _show_answers(ctx: Context, actor: Actor, question: str, held: Drafts) -> None:
    edits = held.edits() if actor.may(Permission.KB_EDIT) else ()
    try:
        found = trying.try_out(ctx, actor, question, edits)
    except DeskError as error:
        show_error(error)
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width="stretch", gap=None):
            _show_summary(found)
        _offer_to_keep(ctx, actor, found.question)
    told = [
        [(_whose(side), side.answers[index]) for side in found.sides]
        for index in range(len(found.sides[0].answers))
    ]
    for answers in told:
        if not is_quiet(answers):
            _show_card(found, answers)
    with st.container(gap="xxsmall", key="kb_quiet_answers"):
        for answers in told:
            if is_quiet(answers):
                show_quiet(answers[-1][1])


def _offer_to_keep(ctx: Context, actor: Actor, question: str) -> None:
    folded = golden.folded(question)
    if any(golden.folded(one.question) == folded for one in golden.questions(ctx, actor)):
        st.caption(":material/star: A golden question", width="content")
    elif actor.may(Permission.KB_EDIT):
        st.button(
            "Save as golden question",
            key="kb_golden_keep",
            icon=":material/star:",
            help="It is asked again before every release, which then shows if its answers change.",
            on_click=_keep,
            args=(ctx, actor, question),
        )


def _keep(ctx: Context, actor: Actor, question: str) -> None:
    try:
        golden.add(ctx, actor, question)
    except DeskError as error:
        say_after_rerun(str(error), ":material/warning:")
    else:
        say_after_rerun(f"Saved: “{question}” is asked before every release.")


def _show_summary(found: TryOut) -> None:
    before = [side for side in found.sides if side.source in (Source.SHOP, Source.RELEASE)]
    if found.changed:
        names = names_of(found.changed)
        st.markdown(f":material/difference: The next release answers differently: **{names}**.")
    elif before:
        st.markdown(":material/check: The next release answers the same.")
    for note in found.notes:
        st.caption(f":material/info: {form.plain(note)}")
    if len(before) == 2 and _says_otherwise(before[0], before[1]):
        st.caption(
            ":material/warning: The shop's own module says something else than the release: "
            "it was changed by hand, or the release is not written to it."
        )


def _says_otherwise(one: Side, other: Side) -> bool:
    pairs = zip(one.answers, other.answers, strict=True)
    return any((mine.found, mine.texts) != (theirs.found, theirs.texts) for mine, theirs in pairs)


def _whose(side: Side) -> str:
    if side.source is Source.RELEASE:
        return f"Release {side.release}"
    return {
        Source.SHOP: "The shop today",
        Source.SAVED: "As saved",
        Source.UNSAVED: "With your unsaved changes",
    }[side.source]


def _show_card(found: TryOut, answers: Sequence[Named]) -> None:
    look_up = answers[0][1].look_up
    finds = {one.key for _whose, one in answers if one.found is Found.ENTRY}
    with st.container(border=True, key=f"kb_answer_{look_up.name}"):
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            st.markdown(f"**{NAMES[look_up]}**", width="content")
            if len(finds) == 1:
                st.caption(f"finds {form.plain(next(iter(finds)))}", width="stretch")
            else:
                st.space("stretch")
            _link(found, [one for _whose, one in reversed(answers)])
        show_side_by_side(answers)


def _link(found: TryOut, newest_first: Sequence[Answer]) -> None:
    for one in newest_first:
        number = found.entries.get((one.section, one.key))
        if number is not None:
            st.button(
                "Open the entry",
                key=f"kb_answer_open_{one.look_up.name}",
                type="tertiary",
                icon=":material/arrow_forward:",
                on_click=kb_where.go_to_entry,
                args=(one.section, one.key, number),
            )
            return
