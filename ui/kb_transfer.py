"""Import with a preview, and export, of the whole knowledge base."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import Conflict, DeskError
from services.knowledge import transfer
from services.knowledge.comparing import Mode
from services.knowledge.sections import title_of
from services.knowledge.shapes import NotImportable
from services.knowledge.transfer import Export, ImportPlan, PlannedChange, PlannedMode, ShopModule
from ui import dialogs
from ui import format as form
from ui.kb_text import show_difference
from ui.kb_where import TRANSFER, go_to
from ui.messages import say_after_rerun, show_error, show_problem

_PLAN = "kb_plan"
_FILE = "kb_import_file"
_SHOWN = 30
_MODES = {
    Mode.MERGE: "Merge: add and change, keep the rest",
    Mode.REPLACE: "Replace everything by this file",
}


def show_transfer(ctx: Context, actor: Actor) -> None:
    """Both directions; import for those who may edit."""
    if actor.may(Permission.KB_EDIT):
        st.header("Import", anchor=False)
        show_import(ctx, actor)
    st.header("Export", anchor=False)
    st.caption(
        "The whole knowledge base as one file; importing it again changes nothing. "
        "Exports stand in the audit log."
    )
    with st.container(horizontal=True, gap="small"):
        _download("Python module", "fashion_kb.py", lambda: transfer.export_module(ctx, actor))
        _download("JSON", "fashion_kb.json", lambda: transfer.export_json(ctx, actor))


def _download(label: str, name: str, export: Callable[[], Export]) -> None:
    mime = "text/x-python" if name.endswith(".py") else "application/json"
    st.download_button(
        label,
        data=lambda: export().data,
        file_name=name,
        mime=mime,
        icon=":material/download:",
        on_click="ignore",
        key=f"kb_export_{name}",
    )


def show_import(ctx: Context, actor: Actor) -> None:
    """Choose a file, see what it would change, then do exactly that."""
    plan: ImportPlan | None = st.session_state.get(_PLAN)
    if plan is not None:
        _show_plan(ctx, actor, plan)
        return
    offer_shop_module(ctx, actor)
    turn = st.session_state.get("kb_upload_turn", 0)
    upload = st.file_uploader(
        "A fashion_kb.py or a .json file",
        type=["py", "json"],
        key=f"kb_upload_{turn}",
        help="A Python file is read, never run. You see what would change before it does.",
    )
    if upload is not None:
        _preview(ctx, actor, upload.name, upload.getvalue())
        if _PLAN in st.session_state:
            st.session_state["kb_upload_turn"] = turn + 1
            st.rerun()


def offer_shop_module(ctx: Context, actor: Actor) -> None:
    """Offer the shop's own module where it says something else than the knowledge base."""
    found = transfer.find_shop_module(ctx)
    if found is None or not found.differs:
        return
    with st.container(border=True, key="kb_shop_module"):
        _show_module(ctx, actor, found)


def _show_module(ctx: Context, actor: Actor, found: ShopModule) -> None:
    if found.problem is not None:
        show_problem(found.problem.message, found.problem.hint, calm=True)
        st.caption(form.plain(found.path))
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(width="stretch", gap=None):
            st.markdown("**The shop has a knowledge base of its own**")
            st.caption(
                f"{form.plural(found.entries, 'entry', 'entries')} in {form.plain(found.path)}. "
                "It is read, never run; you see what would change first."
            )
        if st.button(
            "Preview import", type="primary", icon=":material/upload:", key="kb_import_shop"
        ):
            _preview(ctx, actor, found.path, found.data)
            if _PLAN in st.session_state:
                go_to(view=TRANSFER)
                st.rerun()


def _preview(ctx: Context, actor: Actor, name: str, data: bytes) -> None:
    try:
        st.session_state[_PLAN] = transfer.preview(ctx, actor, name, data)
        st.session_state[_FILE] = (name, data)
    except NotImportable as error:
        show_error(error)
        with st.container(gap="xxsmall"):
            for place, what in error.places[:_SHOWN] if len(error.places) > 1 else ():
                st.markdown(f"- {form.plain(place)}: {form.plain(what)}")
    except DeskError as error:
        show_error(error)


def _forget() -> None:
    for name in (_PLAN, _FILE, "kb_import_reason", "kb_import_typed", "kb_import_mode"):
        st.session_state.pop(name, None)


def _show_plan(ctx: Context, actor: Actor, plan: ImportPlan) -> None:
    with st.container(border=True, key="kb_plan"):
        st.markdown(f"**What importing {form.plain(plan.source)} would do**")
        mode = st.radio(
            "How",
            list(_MODES),
            format_func=_MODES.__getitem__,
            key="kb_import_mode",
            label_visibility="collapsed",
        )
        planned = plan.of(mode)
        _show_counts(planned, mode)
        for note in plan.notes:
            st.caption(f":material/info: {form.plain(note)}")
        _show_changes("New", planned.new)
        _show_changes("Changed", planned.changed)
        _show_changes("Would be removed", planned.removed)
        _confirm(ctx, actor, plan, mode, planned)


def _show_counts(planned: PlannedMode, mode: Mode) -> None:
    counts = [
        ("new", len(planned.new)),
        ("changed", len(planned.changed)),
        ("unchanged", planned.unchanged),
    ]
    if mode is Mode.REPLACE:
        counts += [("removed", len(planned.removed)), ("moved", planned.moved)]
    st.markdown(" · ".join(f"**{form.number(count)}** {what}" for what, count in counts))
    if planned.is_empty:
        st.info("The knowledge base already says all of this.", icon=":material/check:")


def _show_changes(title: str, found: tuple[PlannedChange, ...]) -> None:
    if not found:
        return
    with st.expander(f"{title} ({len(found)})"):
        for change in found[:_SHOWN]:
            place = form.plain(title_of(change.section)) if change.section else "Knowledge base"
            st.markdown(f"{place} / **{form.plain(change.key)}**")
            before, after = change.before, change.after
            names = dict.fromkeys([*(before or {}), *(after or {})])
            for name in names:
                old = None if before is None else before.get(name, "")
                new = None if after is None else after.get(name, "")
                if old != new:
                    if len(names) > 1:
                        st.caption(form.plain(name))
                    show_difference(old, new)
        if len(found) > _SHOWN:
            st.caption(f"and {form.number(len(found) - _SHOWN)} more.")


def _confirm(
    ctx: Context, actor: Actor, plan: ImportPlan, mode: Mode, planned: PlannedMode
) -> None:
    reason = st.text_input("Reason", placeholder="Reason (optional)", key="kb_import_reason")
    typed = ""
    if mode is Mode.REPLACE:
        typed = dialogs.typed_word(
            transfer.REPLACE_WORD, "kb_import_typed", more=" that everything else goes"
        )
    ready = not planned.is_empty and (mode is Mode.MERGE or typed.strip() == transfer.REPLACE_WORD)
    with st.container(horizontal=True, gap="small"):
        clicked = st.button(
            "Replace everything" if mode is Mode.REPLACE else "Import",
            type="primary",
            disabled=not ready,
            key="kb_import_do",
        )
        st.button("Cancel", key="kb_import_cancel", on_click=_forget)
    if not clicked:
        return
    try:
        done = transfer.apply_import(ctx, actor, plan, mode=mode, reason=reason, typed=typed)
    except Conflict as error:
        show_error(error)
        name, data = st.session_state[_FILE]
        st.button(
            "Preview again",
            key="kb_import_again",
            on_click=_preview,
            args=(ctx, actor, name, data),
        )
    except DeskError as error:
        show_error(error)
    else:
        _forget()
        say_after_rerun(
            f"Imported: {done.added} added, {done.edited} changed, {done.deleted} deleted."
        )
        go_to()
        st.rerun()
