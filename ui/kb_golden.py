"""Golden questions on the page: the list, which answers change, and what one does with them."""

from __future__ import annotations

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import DeskError
from services.knowledge import trying
from services.knowledge.releasing import golden
from services.knowledge.releasing.golden import MAX_NOTE, MAX_QUESTIONS, Question
from services.knowledge.trying import Golden, Source
from ui import format as form
from ui.kb_answers import names_of, show_change
from ui.messages import say_after_rerun, show_error
from ui.tables import on_phone

QUESTION = "ask"
"""The widget that holds the question on trial."""

_LINES = "kb_golden_lines"


def ask(question: str) -> None:
    """Put a question on trial; for `on_click`."""
    st.session_state[QUESTION] = question


def show_golden(ctx: Context, actor: Actor) -> None:
    """All golden questions, with whether the next release answers them otherwise."""
    found = trying.golden_answers(ctx, actor)
    may_edit = actor.may(Permission.KB_EDIT)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="kb_golden"):
        with st.container(width="stretch", gap=None):
            st.header("Golden questions", anchor=False)
            st.caption(_summary(found))
        if found.questions:
            st.download_button(
                "Download",
                data=golden.lines(found.questions),
                file_name="golden_questions.txt",
                mime="text/plain",
                icon=":material/download:",
                on_click="ignore",
                type="tertiary",
                key="kb_golden_download",
            )
        if may_edit and len(found.questions) < MAX_QUESTIONS:
            with st.popover("Add several", icon=":material/add:", type="tertiary"):
                _add_lines(ctx, actor)
    if found.note and found.questions:
        st.caption(f":material/info: {form.plain(found.note)}")
    if found.questions:
        _show_list(ctx, actor, found)
    else:
        _offer_starters(ctx, actor)


def _summary(found: Golden) -> str:
    count = len(found.questions)
    if not count:
        return "Asked before every release, so that no answer changes unseen."
    questions = form.plural(count, "question")
    if found.before is None:
        return f"{questions}, asked before every release."
    if not found.changes:
        return f"{questions}; the next release answers all of them as {_before(found)} does."
    return (
        f"{questions}; the next release answers **{form.number(len(found.changes))}** otherwise "
        f"than {_before(found)}."
    )


def _before(found: Golden) -> str:
    return "the shop today" if found.before is Source.SHOP else f"release {found.release}"


def _offer_starters(ctx: Context, actor: Actor) -> None:
    offered = trying.starters(ctx, actor) if actor.may(Permission.KB_EDIT) else ()
    with st.container(border=True, key="kb_golden_none"):
        st.markdown("**No question is asked yet**")
        if not offered:
            st.caption("Ask something above and save it as a golden question.")
            return
        st.caption(
            "Ask something above and save it, or begin with questions that your knowledge base "
            f"has entries for: {form.plain(', '.join(offered))}."
        )
        st.button(
            f"Begin with these {len(offered)}" if len(offered) > 1 else "Begin with this one",
            key="kb_golden_start",
            icon=":material/star:",
            on_click=_add,
            args=(ctx, actor, "\n".join(offered)),
        )


def _add_lines(ctx: Context, actor: Actor) -> None:
    turn = st.session_state.get(f"{_LINES}_turn", 0)
    text = st.text_area(
        "One question a line",
        key=f"{_LINES}_{turn}",
        height=180,
        help="A note may follow behind a tab, as in the file that Download gives.",
        placeholder="navy\nblack tie",
    )
    st.button("Add", key="kb_golden_add", type="primary", on_click=_add, args=(ctx, actor, text))


def _add(ctx: Context, actor: Actor, text: str) -> None:
    try:
        done = golden.add_lines(ctx, actor, text)
    except DeskError as error:
        say_after_rerun(str(error), ":material/warning:")
        return
    st.session_state[f"{_LINES}_turn"] = st.session_state.get(f"{_LINES}_turn", 0) + 1
    known = f"; {form.number(done.known)} were known" if done.known else ""
    say_after_rerun(f"Added {form.plural(done.added, 'golden question')}{known}.")


def _show_list(ctx: Context, actor: Actor, found: Golden) -> None:
    changed_first = sorted(found.questions, key=lambda one: one.question not in found.changes)
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(key="list_of_questions"):
        chosen = _table(found, changed_first)
        if chosen is None:
            st.caption("Choose a row to see what its answers were and would be.")
    with right, st.container(key="chosen_question" if chosen else "nothing_chosen"):
        if chosen is None:
            st.empty()
        else:
            _show_one(ctx, actor, found, chosen)


def _table(found: Golden, shown: list[Question]) -> Question | None:
    columns = {
        "Question": [one.question for one in shown],
        "With the next release": [_state(found, one) for one in shown],
        "Note": [one.note for one in shown],
    }
    if found.before is None:
        del columns["With the next release"]
    if on_phone():
        del columns["Note"]
    table = st.dataframe(
        columns,
        # Rows are chosen by position: another list is another table.
        key=f"kb_questions_{hash(tuple(one.id for one in shown))}",
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        width="stretch",
        height=min(len(shown), 12) * 33 + 37,
        alt="Golden questions, those whose answers change first",
    )
    rows = table["selection"]["rows"]
    return shown[rows[0]] if rows and rows[0] < len(shown) else None


def _state(found: Golden, one: Question) -> str:
    change = found.changes.get(one.question)
    return f"changes {names_of(change.changed)}" if change else "same answers"


def _show_one(ctx: Context, actor: Actor, found: Golden, one: Question) -> None:
    with st.container(border=True, key="kb_question"):
        st.markdown(f"**{form.plain(one.question)}**")
        st.caption(
            f"{form.plain(one.author)}, {form.age(one.at, ctx.now())}", help=form.when(one.at)
        )
        if actor.may(Permission.KB_EDIT):
            _edit_note(ctx, actor, one)
        elif one.note:
            st.text(one.note)
        with st.container(horizontal=True, gap="small"):
            st.button(
                "Ask it",
                key="kb_question_ask",
                icon=":material/search:",
                on_click=ask,
                args=(one.question,),
            )
            if actor.may(Permission.KB_EDIT):
                st.button(
                    "Remove",
                    key="kb_question_remove",
                    icon=":material/delete:",
                    help="It is asked no more. Its answers stay as they are.",
                    on_click=_remove,
                    args=(ctx, actor, one),
                )
        change = found.changes.get(one.question)
        if change is not None:
            st.divider()
            before = _before(found)
            show_change(change, before[:1].upper() + before[1:], "As saved")


def _edit_note(ctx: Context, actor: Actor, one: Question) -> None:
    note = st.text_input(
        "Note",
        value=one.note,
        key=f"kb_question_note_{one.id}",
        placeholder="Why it is asked",
        label_visibility="collapsed",
        max_chars=MAX_NOTE,
    )
    if " ".join(note.split()) != one.note:
        try:
            golden.edit_note(ctx, actor, one.id, note)
        except DeskError as error:
            show_error(error)
        else:
            say_after_rerun("Saved the note.")
            st.rerun()


def _remove(ctx: Context, actor: Actor, one: Question) -> None:
    try:
        golden.remove(ctx, actor, one.id)
    except DeskError as error:
        say_after_rerun(str(error), ":material/warning:")
    else:
        say_after_rerun(f"Removed: “{one.question}” is asked no more.", ":material/delete:")
