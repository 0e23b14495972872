"""Import: choose a file, see what it would change, then do exactly what was accepted."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from services import exchange
from services.core import jobs
from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import Conflict, DeskError
from services.knowledge.comparing import Mode
from services.knowledge.exchange import applying, job
from services.knowledge.exchange.cells import SECTION
from services.knowledge.exchange.model import Format
from services.knowledge.exchange.planning import Options
from services.knowledge.ledger import ChangeSet
from services.knowledge.sections import SECTIONS, Shape, title_of
from services.knowledge.shapes import NotImportable
from ui import dialogs, kb_plan, kb_undo
from ui import format as form
from ui.kb_meanwhile import show_meanwhile
from ui.kb_where import TRANSFER, go_to, go_to_change
from ui.messages import say_after_rerun, show_error
from ui.progress import job_progress, show_failure

_TABLES = [part.pointer for one in SECTIONS for part in one.parts if part.shape is not Shape.TEXT]
_PENDING, _DONE, _WATCHED = "kb_import", "kb_import_done", "kb_import_job"
_SHOWN = 30
_MODES = {
    Mode.MERGE: "Merge",
    Mode.SECTION: "Replace sections",
    Mode.REPLACE: "Replace everything",
}
_ABOUT = {
    Mode.MERGE: "Adds and changes; what the file does not name stays.",
    Mode.SECTION: "Afterwards these parts hold exactly what the file holds.",
    Mode.REPLACE: "Afterwards the knowledge base is exactly the file.",
}


def begin(ctx: Context, actor: Actor, name: str, data: bytes, part: str | None = None) -> None:
    """Look at a file and go to its preview, from wherever one is; shows what is wrong with it.

    Args:
        name: its ending says what it is.
        part: pointer of the part that a table belongs to that does not say so itself.
    """
    try:
        with st.spinner("Comparing the file with the knowledge base"):
            plan = applying.preview(ctx, actor, name, data, part=part)
    except NotImportable as error:
        show_error(error)
        with st.container(gap="xxsmall"):
            for place, what in error.places[:_SHOWN] if len(error.places) > 1 else ():
                st.markdown(f"- {form.plain(place)}: {form.plain(what)}")
        return
    except DeskError as error:
        show_error(error)
        return
    _open(kb_plan.Pending(plan, data, part=part))


def _open(pending: kb_plan.Pending) -> None:
    forget()
    st.session_state[_PENDING] = pending
    st.session_state["kb_upload_turn"] = st.session_state.get("kb_upload_turn", 0) + 1
    go_to(view=TRANSFER)
    st.rerun()


def forget() -> None:
    """Close the preview, and with it everything that was chosen in it."""
    for name in (_PENDING, _DONE, "kb_import_reason", "kb_import_typed", "kb_import_mode"):
        st.session_state.pop(name, None)
    kb_plan.forget()


def is_busy(ctx: Context) -> bool:
    """Whether there is an import to look at, and nothing else to be begun."""
    return _PENDING in st.session_state or job.running(ctx) is not None


def show_import(ctx: Context, actor: Actor) -> None:
    """Whatever comes next: an import under way, a preview, or the choice of a file."""
    running = job.running(ctx)
    if running is not None:
        _show_running(ctx, actor, running)
        return
    pending: kb_plan.Pending | None = st.session_state.get(_PENDING)
    if pending is not None:
        _show_pending(ctx, actor, pending)
        return
    _show_done(actor)
    _show_outcome(ctx, actor)
    _choose_file(ctx, actor)


# --- the choice of a file ---


def _choose_file(ctx: Context, actor: Actor) -> None:
    upload = st.file_uploader(
        "A file of the knowledge base: Python module, JSON, YAML, CSV or Excel",
        type=[one.value for one in Format],
        key=f"kb_upload_{st.session_state.get('kb_upload_turn', 0)}",
        help="A file is read, never run. You see what would change before it does.",
    )
    if upload is not None:
        begin(ctx, actor, upload.name, upload.getvalue())


# --- the preview ---


def _show_pending(ctx: Context, actor: Actor, pending: kb_plan.Pending) -> None:
    with st.container(border=True, key="kb_plan"):
        name = form.plain(pending.plan.file.name)
        st.markdown(f"**What importing {name} would do**")
        _choose_part(ctx, actor, pending)
        _choose_mode(ctx, actor, pending)
        show_meanwhile(pending)
        kb_plan.show(pending)
        _confirm(ctx, actor, pending)


def _choose_part(ctx: Context, actor: Actor, pending: kb_plan.Pending) -> None:
    """Ask what a table belongs to that does not say so itself."""
    file = pending.plan.file
    if file.format not in (Format.CSV, Format.XLSX):
        return
    if pending.part is None and not any(fault.field == SECTION for fault in file.faults):
        return
    part = st.selectbox(
        "Rows that name no section belong to",
        _TABLES,
        index=_TABLES.index(pending.part) if pending.part in _TABLES else None,
        format_func=title_of,
        placeholder="Choose a section",
        key="kb_import_part",
        width=420,
    )
    if part is not None and part != pending.part:
        begin(ctx, actor, file.name, pending.data, part)


def _choose_mode(ctx: Context, actor: Actor, pending: kb_plan.Pending) -> None:
    """How the file meets what is there; another answer is another plan."""
    file, options = pending.plan.file, pending.plan.options
    modes = [
        mode
        for mode in _MODES
        if (mode is not Mode.REPLACE or file.whole) and (mode is not Mode.SECTION or file.tables)
    ]
    mode = st.segmented_control(
        "How",
        modes,
        default=options.mode,
        required=True,
        format_func=_MODES.__getitem__,
        label_visibility="collapsed",
        key="kb_import_mode",
    )
    wanted = Options(mode or Mode.MERGE, None, options.blanks_empty)
    if mode is Mode.SECTION and len(file.tables) > 1:
        chosen = st.multiselect(
            "Parts to replace; what else the file holds is merged",
            list(file.tables),
            default=list(file.tables if options.tables is None else sorted(options.tables)),
            format_func=lambda where: title_of(where),
            key="kb_import_tables",
        )
        whole = set(chosen) == set(file.tables)
        wanted = replace(wanted, tables=None if whole else frozenset(chosen))
    else:
        st.caption(_ABOUT[wanted.mode])
    if file.faults and not file.whole:
        st.caption("What has faults replaces nothing in full: it is merged until they are gone.")
    if any(row.blank for row in file.rows):
        emptied = st.checkbox(
            "Blank cells empty what is there",
            value=options.blanks_empty,
            help="Otherwise a cell that the file leaves blank keeps its text.",
            key="kb_import_blanks",
        )
        wanted = replace(wanted, blanks_empty=emptied)
    if wanted == options:
        return
    with st.spinner("Comparing the file with the knowledge base"):
        again = applying.preview_of(ctx, actor, file, wanted)
    kb_plan.forget()
    st.session_state[_PENDING] = kb_plan.Pending(again, pending.data, part=pending.part)
    st.rerun()


def _confirm(ctx: Context, actor: Actor, pending: kb_plan.Pending) -> None:
    plan, count = pending.plan, pending.taken
    if plan.is_empty:
        st.button("Close", key="kb_import_cancel", on_click=forget)
        return
    reason = st.text_input("Reason", placeholder="Reason (optional)", key="kb_import_reason")
    typed, all_of_it = "", plan.options.mode is Mode.REPLACE
    if all_of_it:
        typed = dialogs.typed_word(
            applying.REPLACE_WORD, "kb_import_typed", more=" that everything else goes"
        )
    ready = count > 0 and (not all_of_it or typed.strip() == applying.REPLACE_WORD)
    some = "" if count == len(plan.items) else f" {form.number(count)} of"
    changes = form.plural(len(plan.items), "change")
    with st.container(horizontal=True, gap="small"):
        clicked = st.button(
            "Replace everything" if all_of_it and not some else f"Import{some} {changes}",
            type="primary",
            disabled=not ready,
            key="kb_import_do",
        )
        st.button("Cancel", key="kb_import_cancel", on_click=forget)
    if clicked:
        _import(ctx, actor, pending, reason, typed)


def _import(ctx: Context, actor: Actor, pending: kb_plan.Pending, reason: str, typed: str) -> None:
    plan, choice = pending.plan, pending.choice
    try:
        if not applying.is_current(ctx, plan):
            raise applying.moved()
        if job.is_large(plan):
            started = exchange.start(
                ctx,
                actor,
                plan,
                pending.data,
                choice,
                part=pending.part,
                reason=reason,
                typed=typed,
            )
            forget()
            st.session_state[_WATCHED] = started.id
            st.rerun()
        with st.spinner("Importing"):
            done = applying.apply_import(ctx, actor, plan, choice, reason=reason, typed=typed)
    except Conflict as error:
        show_error(error)
        st.button(
            "Look at what changed",
            icon=":material/sync:",
            key="kb_import_again",
            on_click=_rebase,
            args=(ctx, actor, pending),
        )
    except DeskError as error:
        show_error(error)
    else:
        forget()
        st.session_state[_DONE] = done
        say_after_rerun(f"Imported: {_counts(done)}.")
        st.rerun()


def _rebase(ctx: Context, actor: Actor, pending: kb_plan.Pending) -> None:
    try:
        found = applying.rebase(ctx, actor, pending.plan, pending.choice)
    except DeskError as error:
        show_error(error)
        return
    kb_plan.forget()
    st.session_state[_PENDING] = kb_plan.Pending(
        found.plan,
        pending.data,
        found.choice,
        found.other,
        found.meanwhile,
        rebased=True,
        part=pending.part,
    )


# --- how it went ---


def _show_done(actor: Actor) -> None:
    done: ChangeSet | None = st.session_state.get(_DONE)
    if done is not None:
        _show_change_set(actor, done)


def _show_change_set(actor: Actor, done: ChangeSet) -> None:
    with st.container(border=True, key="kb_import_done_box"):
        st.markdown(f"**:material/check_circle: Imported: {_counts(done)}**")
        if done.reason:
            st.caption(form.plain(done.reason))
        with st.container(horizontal=True, gap="small"):
            st.button(
                "Show the change set",
                icon=":material/history:",
                key="kb_import_see",
                on_click=go_to_change,
                args=(done.id,),
            )
            kb_undo.offer(actor, done)


def _counts(done: ChangeSet) -> str:
    return f"{done.added:,} added, {done.edited:,} changed, {done.deleted:,} deleted"


def _show_running(ctx: Context, actor: Actor, running: jobs.Job) -> None:
    st.session_state[_WATCHED] = running.id
    st.caption(f"{form.plain(str(running.params.get('name', '')))} is being imported.")
    job_progress(running.id, permission=Permission.KB_EDIT)
    st.button(
        "Call it off",
        icon=":material/close:",
        key="kb_import_call_off",
        help="Nothing of it is imported then.",
        on_click=_call_off,
        args=(ctx, actor, running.id),
    )


def _call_off(ctx: Context, actor: Actor, job_id: str) -> None:
    job.call_off(ctx, actor, job_id)
    say_after_rerun("The import ends before it writes, unless it has written already.")


def _show_outcome(ctx: Context, actor: Actor) -> None:
    """How an import that ran by itself went: one's own, or any that can be gone on with."""
    found = job.outcome(ctx, actor)
    if found is None:
        return
    if found.change_set is not None:
        if st.session_state.get(_WATCHED) == found.job.id:
            _show_change_set(actor, found.change_set)
        return
    if not found.waits:
        return
    show_failure(found.job, ctx.now())
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            f"Nothing of {form.plain(found.name)} was imported. The file is kept for two days.",
            width="stretch",
        )
        if st.button("Go on with it", icon=":material/replay:", key="kb_import_resume"):
            _resume(ctx, actor, found.order)
        st.button(
            "Throw it away",
            icon=":material/delete:",
            key="kb_import_forget",
            on_click=job.forget,
            args=(ctx, actor, found.order),
        )


def _resume(ctx: Context, actor: Actor, order: str) -> None:
    try:
        found = job.resume(ctx, actor, order)
    except DeskError as error:
        show_error(error)
        return
    # Where the knowledge base moved on, nobody can say any more what each item said then.
    other = frozenset() if found.same else frozenset(item.id for item in found.plan.items)
    _open(
        kb_plan.Pending(
            found.plan, found.data, found.choice, other, rebased=not found.same, part=found.part
        )
    )
