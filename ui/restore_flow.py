"""Going back to a backup: choose, see what would change, confirm, watch, undo."""

from __future__ import annotations

import streamlit as st

from services import restore
from services.core import jobs
from services.core.access import Actor
from services.core.context import Context
from services.core.jobs import JobState
from services.protection.model import Manifest, Part
from services.protection.rescue.plan import RESTORABLE, RestorePlan
from services.protection.rescue.undo import UndoOffer
from services.protection.rescue.words import Tone
from ui import dialogs
from ui import format as form
from ui.messages import shown_errors
from ui.progress import launch, watched

_PLAN = "restore_plan"
_TITLES = {
    Part.DATABASE: "Database",
    Part.KNOWLEDGE: "Knowledge base",
    Part.VECTORS: "Vectors",
    Part.IMAGES: "Pictures",
}
_TONES = {
    Tone.LOST: ("do_not_disturb_on", "red"),
    Tone.BACK: ("add_circle", "green"),
    Tone.CHANGED: ("change_circle", "orange"),
    Tone.NOTE: ("info", "gray"),
}
_ENTRIES_SHOWN = 40


def show(ctx: Context, actor: Actor, manifest: Manifest) -> None:
    """The flow for one backup, as far as this person has come."""
    held = [part for part in _TITLES if part in manifest.parts & RESTORABLE]
    chosen = st.pills(
        "What to put back",
        held,
        selection_mode="multi",
        default=held,
        format_func=_TITLES.__getitem__,
        key=f"parts_{manifest.id}",
        help="The database brings its knowledge base with it. Vectors are what the shop's "
        "search compares; pictures are those it has generated.",
    )
    parts = frozenset(chosen)
    kept_parts, plan = st.session_state.get(_PLAN, (None, None))
    shown = plan is not None and plan.snapshot_id == manifest.id and kept_parts == parts
    if st.button(
        "Compare again" if shown else "Preview",
        icon=":material/refresh:" if shown else ":material/preview:",
        type="tertiary" if shown else "secondary",
        key="preview",
        disabled=not parts,
        help="Compares the backup with the shop as it is now. Nothing is changed.",
    ):
        st.session_state.pop(_PLAN, None)
        with shown_errors():
            st.session_state[_PLAN] = (parts, _preview(ctx, actor, manifest.id, parts))
            st.rerun()
    if shown:
        _show_plan(ctx, actor, plan)


def _preview(ctx: Context, actor: Actor, snapshot_id: str, parts: frozenset[Part]) -> RestorePlan:
    with watched("Comparing with the shop as it is now") as watch:
        return restore.preview(ctx, actor, snapshot_id, parts, watcher=watch)


def _show_plan(ctx: Context, actor: Actor, plan: RestorePlan) -> None:
    st.markdown("**What would change**")
    with st.container(gap="xxsmall"):
        for line in plan.lines:
            icon, colour = _TONES[line.tone]
            st.markdown(f":{colour}[:material/{icon}:] {form.plain(line.text)}")
    if not plan.lines:
        st.markdown(":gray[:material/info:] Nothing: the shop is as it was then.")
    _show_entries(plan)
    if plan.writer:
        st.warning(form.plain(plan.writer), icon=":material/edit:")
    notes = [
        ":material/undo: A safety backup of now is made and read back first, so you can undo this."
    ]
    if plan.restart:
        notes.append(":material/restart_alt: The shop has to be started again afterwards.")
    notes.append(
        f":material/timer: Takes about {form.duration(max(1, round(plan.seconds)))} and needs "
        f"{form.size(plan.bytes_needed)} of disk space. "
        f"Compared {form.age(plan.made_at, ctx.now())}."
    )
    st.caption("  \n".join(notes))
    with st.form("confirm", border=False, enter_to_submit=False):
        typed = dialogs.typed_word(plan.word, "typed")
        pressed = st.form_submit_button(
            f"Restore {form.when_short(plan.snapshot_at, ctx.now())}",
            type="primary",
            icon=":material/settings_backup_restore:",
            key="restore",
            width="stretch",
        )
    if pressed:
        with shown_errors():
            restore.start(ctx, actor, plan, typed)
            st.session_state.pop(_PLAN, None)
            st.rerun()


def _show_entries(plan: RestorePlan) -> None:
    groups = {
        "come back": plan.entries.back,
        "would be lost": plan.entries.lost,
        "go back to their earlier text": plan.entries.changed,
    }
    if not any(groups.values()):
        return
    with st.expander("Knowledge base entries", key="plan_entries"):
        for what, paths in groups.items():
            if paths:
                st.caption(f"{form.plural(len(paths), 'entry', 'entries')} {what}")
                shown = "\n".join(paths[:_ENTRIES_SHOWN])
                more = len(paths) - _ENTRIES_SHOWN
                st.text(shown + (f"\nand {more} more" if more > 0 else ""))


def show_undo(ctx: Context, actor: Actor, offer: UndoOffer) -> None:
    """What was restored, how it was checked, and the way back from it."""
    job = jobs.get(ctx, offer.job_id)
    parts = ", ".join(_TITLES[part].lower() for part in _TITLES if part in offer.parts)
    done = "Undone" if offer.was_undo else "Restored"
    notes = list((job.result or {}).get("notes", []))
    if job.state is JobState.SUCCEEDED:
        notes.insert(0, "Checked right after: everything live equalled the backup.")
    with (
        st.container(border=True, key="undo_offer"),
        st.container(horizontal=True, vertical_alignment="center"),
    ):
        with st.container(width="stretch"):
            st.markdown(
                f":green[:material/check_circle: **{done}**] {form.age(offer.ended_at, ctx.now())} "
                f"by {form.plain(offer.actor_name)}: {parts}  \n"
                + "".join(f":small[:gray[{form.plain(note)}]]  \n" for note in notes)
            )
        if st.button(
            "Restore it again" if offer.was_undo else "Undo this restore",
            icon=":material/redo:" if offer.was_undo else ":material/undo:",
            key="undo",
            help="Puts back what was there before. What is there now goes into a safety "
            "backup first, so this can be undone too.",
        ):
            launch(lambda: restore.start_undo(ctx, actor, offer))
