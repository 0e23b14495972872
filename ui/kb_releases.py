"""Releases: what the shop reads, what waits to be published, and everything published before."""

from __future__ import annotations

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.doors import Watcher
from services.core.errors import DeskError
from services.knowledge.releasing import activating, releases, schedule, standing, status
from services.knowledge.releasing.model import (
    Activation,
    Folder,
    FolderState,
    Release,
    Schedule,
    ScheduleState,
)
from services.knowledge.releasing.status import Status
from services.knowledge.releasing.unreached import NO_RUNNER
from ui import format as form
from ui import kb_release_list, kb_release_open, kb_release_panels
from ui.messages import say_after_rerun, show_error
from ui.progress import to_the_end

_ENDED = 3


def show_releases(ctx: Context, actor: Actor) -> None:
    """The view: what is open in it, or how things stand and the list."""
    panel = kb_release_open.opened()
    if panel is not None:
        kb_release_panels.show(ctx, actor, panel)
        return
    found = status.status(ctx, actor)
    newest = releases.activations(ctx, actor, rows=1).activations
    current = None if found.release is None else releases.release(ctx, actor, found.release)
    if current is None:
        _show_first(ctx, actor, found)
    else:
        _show_current(ctx, actor, found, current, newest[0])
    _show_schedules(ctx, actor)
    kb_release_list.show_list(ctx, actor, found)


def _show_first(ctx: Context, actor: Actor, found: Status) -> None:
    folder = standing.folder(ctx, actor)
    with st.container(border=True, key="kb_release_state", gap="small"):
        st.markdown("**Nothing is published yet**")
        st.markdown(
            "What is saved is not what the shop reads. A release is a numbered state of the whole "
            "knowledge base, with notes: it is written for the shop, can be compared with any "
            "other, and can be made current again."
        )
        if not found.entries:
            st.caption("The knowledge base is empty: write or import something first.")
        elif actor.may(Permission.KB_PUBLISH):
            _publish_button(f"Look at release 1: {form.plural(found.entries, 'entry', 'entries')}")
        else:
            st.caption(f"{form.plural(found.entries, 'entry', 'entries')} wait for release 1.")
        _show_folder(ctx, actor, folder, found, None)


def _show_current(
    ctx: Context, actor: Actor, found: Status, current: Release, newest: Activation
) -> None:
    folder = standing.folder(ctx, actor)
    quiet = folder.state in (FolderState.NOT_SET, FolderState.CURRENT)
    with st.container(border=True, key="kb_release_state", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            with st.container(width="stretch", gap="xxsmall"):
                st.markdown(f"**Release {current.number} is current**")
                st.caption(_since(ctx, current, newest), help=form.when(newest.at))
            if not found.is_clean and actor.may(Permission.KB_PUBLISH):
                _publish_button(f"Publish {_waiting(found)}", primary=quiet)
        st.text(current.notes)
        st.markdown(
            ":material/check: :small[Everything that is saved is in it.]"
            if found.is_clean
            else f":orange[:material/difference:] {_unpublished(found)}"
        )
        _show_folder(ctx, actor, folder, found, newest)


def _since(ctx: Context, current: Release, newest: Activation) -> str:
    who = f"by {form.plain(newest.author)} {form.age(newest.at, ctx.now())}"
    if newest.at == current.at or newest.reason == current.notes:
        return f"Published {who}"
    return f"Made current {who}: {form.plain(newest.reason)}"


def _waiting(found: Status) -> str:
    if found.changed:
        return form.plural(found.changed, "change")
    return "the new order"


def _unpublished(found: Status) -> str:
    if found.changed == 1:
        return "1 entry is saved and not published."
    if found.changed:
        return f"{form.number(found.changed)} entries are saved and not published."
    return f"The place of {form.plural(found.moved, 'entry', 'entries')} is saved, not published."


def _publish_button(label: str, *, primary: bool = True) -> None:
    st.button(
        label,
        key="kb_release_publish",
        type="primary" if primary else "secondary",
        icon=":material/publish:",
        help="Shows first what would change, and which golden questions are answered otherwise.",
        on_click=kb_release_open.open_publish,
    )


# --- the folder ---


def _show_folder(
    ctx: Context, actor: Actor, folder: Folder, found: Status, newest: Activation | None
) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", key="kb_release_folder"
    ):
        with st.container(width="stretch", gap="xxsmall"):
            _folder_words(folder, found, newest)
        _folder_step(ctx, actor, folder, found)


def _folder_words(folder: Folder, found: Status, newest: Activation | None) -> None:
    where = f"**{form.plain(str(folder.path))}**"
    if folder.state is FolderState.NOT_SET:
        st.markdown(":gray[:material/folder_off:] No folder is set from which the shop reads.")
        st.caption("Releases are kept here, and the shop goes on with the module it has.")
        return
    if folder.state is FolderState.CURRENT:
        # A sign after the code would stand apart from it.
        commit = f", commit `{newest.commit[:9]}`" if newest and newest.commit else "."
        st.markdown(f":green[:material/check_circle:] {where} holds it{commit}")
    elif folder.state is FolderState.BEHIND and found.release is None:
        st.markdown(f":gray[:material/folder:] {where} gets the first release.")
    elif folder.state is FolderState.BEHIND:
        st.markdown(
            f":orange[:material/sync_problem:] {where} does not hold release {found.release} yet."
        )
    elif folder.state is FolderState.EDITED and found.release is None:
        st.markdown(
            f":orange[:material/edit_note:] {where} holds a knowledge base that says something "
            "else than the one saved here."
        )
        st.caption(form.plain(folder.hint))
        return
    elif folder.state is FolderState.EDITED:
        st.markdown(f":orange[:material/edit_note:] {where} was changed by hand.")
    else:
        st.markdown(f":red[:material/error:] {where} can't be written.")
    quiet = folder.state is FolderState.BEHIND and found.release is None
    told = (folder.message, "" if folder.state is FolderState.BEHIND else folder.hint)
    for words in () if quiet else told:
        if words:
            st.caption(form.plain(words))


def _folder_step(ctx: Context, actor: Actor, folder: Folder, found: Status) -> None:
    may_publish = actor.may(Permission.KB_PUBLISH)
    if folder.state is FolderState.NOT_SET:
        with st.popover("How to set it", type="tertiary", icon=":material/help:"):
            st.markdown(
                "Set `KB_PUBLISH_DIR` to the folder in which the shop's `fashion_kb.py` lies (a "
                "relative path starts at the shop's folder, so often it is `utils`), and restart "
                "the desk. Every release is then written there, and committed where the folder "
                "is a git checkout."
            )
    elif folder.state is FolderState.BEHIND and found.release is not None and may_publish:
        if st.button("Write again", key="kb_release_write", type="primary", icon=":material/sync:"):
            _write_again(ctx, actor)
    elif folder.state is FolderState.EDITED and actor.may(Permission.KB_EDIT):
        label = "Import it" if found.release is None else kb_release_panels.IMPORT
        kb_release_panels.import_button(ctx, actor, folder, label, primary=True)
    elif folder.state is FolderState.UNUSABLE:
        st.button("Look again", key="kb_release_look", icon=":material/refresh:")


def _write_again(ctx: Context, actor: Actor) -> None:
    made: list[Activation] = []

    def work(watcher: Watcher) -> None:
        made.append(activating.write_again(ctx, actor, watcher=watcher))

    try:
        to_the_end("Writing the release for the shop", work)
    except DeskError as error:
        show_error(error)
        return
    done = made[0]
    if done.problem:
        say_after_rerun(f"It could not be written: {done.problem}", ":material/warning:")
    else:
        say_after_rerun(f"Release {done.release} is written to {done.folder}.")
    st.rerun()


# --- what is scheduled ---


def _show_schedules(ctx: Context, actor: Actor) -> None:
    found = schedule.schedules(ctx, actor)
    waiting = [one for one in found if one.state is ScheduleState.WAITING]
    failed = [one for one in found if one.needs_somebody][:_ENDED]
    if not waiting and not failed:
        return
    with st.container(border=True, key="kb_release_schedules", gap="small"):
        st.markdown("**Scheduled**")
        for one in (*waiting, *failed):
            _show_schedule(ctx, actor, one)


def _show_schedule(ctx: Context, actor: Actor, one: Schedule) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(_schedule_words(ctx, one))
            st.caption(f"by {form.plain(one.author)}, {form.age(one.made_at, ctx.now())}")
            if one.problem:
                st.caption(form.plain(one.problem))
            if one.is_overdue:
                st.caption(NO_RUNNER)
        if one.state is ScheduleState.WAITING and actor.may(Permission.KB_PUBLISH):
            st.button(
                "Cancel",
                key=f"kb_schedule_cancel_{one.id}",
                help="The release stays, and can be made current at any time.",
                on_click=_cancel,
                args=(ctx, actor, one),
            )


def _schedule_words(ctx: Context, one: Schedule) -> str:
    when = form.when(one.due_at)
    if one.state is ScheduleState.FAILED:
        return f":red[:material/error:] Release {one.release} was not published on {when}."
    if one.is_overdue:
        late = form.age(one.due_at, ctx.now())
        return (
            f":orange[:material/warning:] Release {one.release} should have gone to the shop on "
            f"{when} ({late})."
        )
    due = form.age(one.due_at, ctx.now())
    return f":material/schedule: Release {one.release} goes to the shop on **{when}** ({due})."


def _cancel(ctx: Context, actor: Actor, one: Schedule) -> None:
    try:
        schedule.cancel(ctx, actor, one.id)
    except DeskError as error:
        say_after_rerun(str(error), ":material/warning:")
    else:
        say_after_rerun(f"Release {one.release} is not scheduled any more. It stays in the list.")
