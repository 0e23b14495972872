""" "Prepare bucket" on a page: what the bucket is like, what would change, and the button."""

from __future__ import annotations

import streamlit as st

from services import store
from services.core.access import Actor, Permission
from services.core.context import Context
from services.protection.bucket.plan import BucketPlan, Line, Verdict
from ui import format as form
from ui.messages import say_after_rerun, shown_errors

_DONE = "store_applied"
_VERDICTS: dict[Verdict, tuple[str, str]] = {
    Verdict.GOOD: ("check", "green"),
    Verdict.DONE: ("check", "green"),
    Verdict.CHANGE: ("edit", "orange"),
    Verdict.OFF: ("remove", "gray"),
    Verdict.UNSUPPORTED: ("block", "gray"),
    Verdict.IMPOSSIBLE: ("block", "orange"),
    Verdict.FORBIDDEN: ("lock", "orange"),
    Verdict.FAILED: ("error", "red"),
}
_STYLE = "<style>.st-key-bucket_plan hr { margin: 0; }</style>"
_CHANGES = (Verdict.CHANGE, Verdict.FAILED)


def show(ctx: Context, actor: Actor, plan: BucketPlan) -> None:
    """The plan line by line, warnings, and the button that does it."""
    told = _last_result(plan)
    st.html(_STYLE)
    with st.container(border=True, key="bucket_plan"):
        for number, line in enumerate(told.lines):
            _line(line, first=number == 0)
    if plan.foreign_rules:
        names = ", ".join(plan.foreign_rules)
        st.caption(
            f":material/handshake: {form.plural(len(plan.foreign_rules), 'lifecycle rule')} of "
            f"others stay word for word as they are: {form.plain(names)}."
        )
    told_too = [f":orange[:material/warning:] {form.plain(each)}" for each in plan.warnings]
    told_too += [f":gray[:material/info: {form.plain(each)}]" for each in plan.notes]
    if told_too:
        st.markdown(":small[" + "]  \n:small[".join(told_too) + "]")
    _button(ctx, actor, plan)


def _line(line: Line, *, first: bool) -> None:
    icon, colour = _VERDICTS[line.verdict]
    if not first:
        st.divider()
    what, change, why = st.columns([3, 5, 5], gap="medium")
    title = line.item.value.capitalize()
    what.markdown(f"**{title}**  \n:{colour}-badge[:material/{icon}: {line.verdict.value}]")
    text = f":small[:gray[is]] {form.plain(line.now)}"
    if line.verdict in _CHANGES:
        text += f"  \n:small[:gray[will be]] **{form.plain(line.will)}**"
    change.markdown(text)
    why.markdown(f":small[:gray[{form.plain(line.why)}]]")


def _button(ctx: Context, actor: Actor, plan: BucketPlan) -> None:
    if not plan.changes:
        st.caption(":material/check: The bucket is as the settings ask, as far as it can be.")
        return
    may = actor.may(Permission.STORE_MANAGE)
    if st.button(
        "Prepare bucket",
        type="primary",
        icon=":material/build:",
        key="apply_bucket",
        disabled=not may,
        help="Changes the lines marked above, one by one, and reads the bucket again. "
        "No backup is touched."
        if may
        else "Only somebody who may manage the store (store.manage) can do this.",
    ):
        with st.spinner("Preparing the bucket"), shown_errors():
            done = store.apply_bucket(ctx, actor, plan)
            st.session_state[_DONE] = done
            changed = sum(line.verdict is Verdict.DONE for line in done.lines)
            say_after_rerun(f"{form.plural(changed, 'setting')} of the bucket changed.")
            st.rerun()


def _last_result(plan: BucketPlan) -> BucketPlan:
    """What the button just did, as long as the bucket is still so."""
    done: BucketPlan | None = st.session_state.get(_DONE)
    return done if done is not None and done.fingerprint == plan.fingerprint else plan
