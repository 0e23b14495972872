"""Proving a backup: the button, what the last drill found, and those before it."""

from __future__ import annotations

import streamlit as st

from services import drill
from services.core.access import Actor, Permission
from services.core.context import Context
from services.protection.model import SnapshotRow, Storage, VectorMatch
from services.protection.proving import records
from services.protection.proving.evidence import Drill, Step
from services.protection.proving.prove import MATCH
from ui import format as form
from ui.progress import job_progress, launch

EXPLAINED = (
    "A drill restores the backup aside, compares everything with what was written down when it "
    "was made, and measures how long that takes. Nothing live is touched."
)
_OUTCOMES = {
    True: ("check_circle", "green"),
    False: ("error", "red"),
    None: ("do_not_disturb_on", "gray"),
}
_DIFFERS = ("warning", "orange")
_WORTH_TELLING = 0.001
_PLACES = {records.STORE: "", records.COPY: "second store, "}


def drill_button(
    ctx: Context,
    actor: Actor,
    snapshot_id: str,
    *,
    key: str,
    label: str = "Drill",
    place: str = records.STORE,
    archived: bool = False,
) -> None:
    """The button that starts a drill; while one runs it can't be pressed."""
    if not actor.may(Permission.DRILL_RUN):
        return
    running = drill.current(ctx)
    why_not = "A drill is running." if running is not None else ""
    if archived:
        why_not = "It lies in the archive: bring it back first, under Restore."
    pressed = st.button(
        label,
        icon=":material/verified:",
        key=key,
        disabled=bool(why_not),
        help=why_not or EXPLAINED,
    )
    if pressed:
        launch(lambda: drill.start(ctx, actor, snapshot_id, place))


def show(ctx: Context, actor: Actor, row: SnapshotRow, match: VectorMatch | None = None) -> None:
    """What is known of a backup from drills, and the way to know it anew.

    Args:
        match: how its vectors and products fitted when it was made. That they still differ in
            the same way proves the backup, and is nothing to be pleased about.
    """
    made = drill.history(ctx, actor, row.id)
    running = drill.current(ctx)
    if running is not None and running.params.get("snapshot") == row.id:
        job_progress(running.id)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        drill_button(
            ctx,
            actor,
            row.id,
            key="drill",
            label="Drill again" if made else "Drill",
            archived=row.storage is Storage.ARCHIVED,
        )
        if row.copied_at is not None:
            drill_button(
                ctx, actor, row.id, key="drill_copy", label="Drill the copy", place=records.COPY
            )
    if not made:
        st.markdown("**Not proven yet**")
        st.caption(EXPLAINED)
        return
    _show_drill(ctx, made[0], differs=match is not None and bool(match.missing or match.stray))
    if made[1:]:
        with st.expander(f"{form.plural(len(made) - 1, 'earlier drill')}", key="earlier_drills"):
            for each in made[1:]:
                st.markdown(_line(ctx, each))


def _show_drill(ctx: Context, last: Drill, *, differs: bool) -> None:
    with st.container(gap="xsmall", key="evidence"):
        st.markdown(_line(ctx, last), help=EXPLAINED)
        for step in last.steps:
            st.markdown(_step(step, differs=differs and step.name == MATCH))
        if last.passed:
            st.caption(f"Everything was back after {_took(last.seconds)}.")


def _line(ctx: Context, each: Drill) -> str:
    word = "Passed" if each.passed else "Failed"
    icon, colour = _OUTCOMES[each.passed]
    told = (
        f"{form.when(each.at)} · {_PLACES.get(each.place, '')}asked for by "
        f"{form.plain(each.asked_by)} on {form.plain(each.host)}"
    )
    head = f"{word} {form.age(each.at, ctx.now())}, in {_took(each.seconds)}"
    return f":{colour}[:material/{icon}:] **{head}**  \n:small[:gray[{told}]]"


def _step(step: Step, *, differs: bool) -> str:
    icon, colour = _DIFFERS if differs and step.passed else _OUTCOMES[step.passed]
    took = f" :small[:gray[· {_took(step.seconds)}]]" if step.seconds >= _WORTH_TELLING else ""
    return (
        f":{colour}[:material/{icon}:] {form.plain(step.name)}{took}  \n"
        f":small[:gray[{form.plain(step.found)}]]"
    )


def _took(seconds: float) -> str:
    return form.duration(seconds) if seconds >= 0.05 else f"{seconds * 1000:.0f} ms"
