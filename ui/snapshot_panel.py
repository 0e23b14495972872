"""One backup beside the list: what it holds, how to get it out, how to go back to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from services import backup
from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import DeskError, Refused
from services.people import sessions
from services.protection import matching
from services.protection.index import catalog
from services.protection.model import Component, Manifest, Part, SnapshotRow, Storage
from ui import copy_status, drill_panel, legacy_remove, restore_flow, retrieval, session
from ui import format as form
from ui.messages import say_after_rerun, show_error, shown_errors
from ui.progress import watched

DOWNLOAD_LIMIT = 200_000_000
"""Larger parts are fetched from the store directly: a browser download is held in the web
server's memory until it has been sent."""

REASONS = {
    "manual": "by hand",
    "scheduled": "scheduled",
    "safety": "before a restore",
    "cron": "scheduled",
    "legacy": "legacy",
}
STATE_COLOURS = {"verified": "green", "read back": "gray", "not checked": "gray", "damaged": "red"}
"""Of each state of a backup: its Markdown colour."""
STATES_EXPLAINED = (
    "Verified: a drill restored it aside and found it equal to what was backed up. Read back: "
    "every stored byte was read and is as it was sent. Damaged: the last look found something "
    "wrong."
)

PARTS: dict[Part, tuple[str, str]] = {
    Part.DATABASE: ("Shop database", "database"),
    Part.KNOWLEDGE: ("Knowledge base", "menu_book"),
    Part.VECTORS: ("Vectors", "scatter_plot"),
    Part.IMAGES: ("Pictures", "image"),
    Part.CONTROL: ("The desk's records", "shield_person"),
}
_FORMS = (
    (".parquet", ", as a table"),
    ("images.objects", ", where each lies"),
    ("images.json", ", as a list"),
)
MARKS = {
    "pinned": "keep",
    "archived": "inventory_2",
    "retrieved": "unarchive",
    "encrypted": "lock",
    "signed": "draw",
    "two copies": "content_copy",
}
_LASTING = ("encrypted", "signed", "two copies")
_HEADLINES = {"orders": "order", "products": "product", "users": "customer"}


def state_of(row: SnapshotRow) -> str:
    """The word for how far a backup can be trusted."""
    if row.verify_error:
        return "damaged"
    if row.verified_at:
        return "verified"
    return "read back" if row.read_back_at else "not checked"


def marks_of(row: SnapshotRow) -> list[str]:
    """What else is to be known of a backup, in a word each."""
    marks = {
        "pinned": row.pin is not None,
        "archived": row.storage is Storage.ARCHIVED,
        "retrieved": row.storage is Storage.READY,
        "encrypted": row.encrypted,
        "signed": row.signed,
        "two copies": row.copied_at is not None and not row.copy_error,
    }
    return [word for word, holds in marks.items() if holds]


def marks_of_list(rows: Sequence[SnapshotRow]) -> tuple[list[list[str]], list[str]]:
    """The marks of each of several backups, and the lasting ones that all of them have.

    What every row has tells none from another, so it is said once for all.
    """
    marks = [marks_of(row) for row in rows]
    common = [word for word in _LASTING if all(word in each for each in marks)]
    if len(rows) < 2:
        common = []
    return [[word for word in each if word not in common] for each in marks], common


def show(ctx: Context, actor: Actor, snapshot_id: str) -> None:
    """The panel of one backup."""
    with st.container(border=True, key="panel"):
        row = catalog.find(ctx, snapshot_id)
        _head(ctx, row)
        try:
            manifest = backup.manifest(ctx, actor, snapshot_id)
        except DeskError as error:
            show_error(error)
            drill_panel.show(ctx, actor, row)
            legacy_remove.show(ctx, actor, row)
            return
        titles = ["Proof", "Contents"]
        if actor.may(Permission.RESTORE):
            titles.insert(0, "Restore")
        tabs = dict(zip(titles, st.tabs(titles, key="panel_tab"), strict=True))
        if "Restore" in tabs:
            with tabs["Restore"], shown_errors():
                if row.verify_error:
                    st.caption(
                        ":material/error: This backup is damaged. A restore of what is broken "
                        "stops before anything live is touched; parts that are whole still work."
                    )
                if not retrieval.stands_before(ctx, actor, row):
                    restore_flow.show(ctx, actor, manifest)
        with tabs["Proof"], shown_errors():
            drill_panel.show(ctx, actor, row, manifest.match)
        with tabs["Contents"], shown_errors():
            _contents(ctx, actor, row, manifest)


def _head(ctx: Context, row: SnapshotRow) -> None:
    now = ctx.now()
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        st.markdown(f"**Backup of {form.when_short(row.created_at, now)}**", width="stretch")
        if st.button("Close", icon=":material/close:", type="tertiary", key="close_panel"):
            st.query_params.pop("snapshot", None)
            st.rerun()
    word = state_of(row)
    icon = {"verified": "check_circle", "damaged": "error"}.get(word, "circle")
    looked_at = row.verified_at or row.read_back_at
    checked = f" {form.age(looked_at, now)}" if looked_at and not row.verify_error else ""
    held = " · ".join(
        form.plural(row.headline[name], noun)
        for name, noun in _HEADLINES.items()
        if name in row.headline
    )
    told = f"{form.when(row.created_at)} · {held}" if held else form.when(row.created_at)
    wrong = f": {form.plain(row.verify_error)}" if row.verify_error else ""
    with st.container(gap="xxsmall", key="panel_state"):
        st.markdown(
            f":{STATE_COLOURS[word]}[:material/{icon}: {word}{checked}]{wrong}",
            help=STATES_EXPLAINED,
        )
        st.caption(told)
    marks = marks_of(row)
    if marks:
        st.markdown(" ".join(f":gray-badge[:material/{MARKS[mark]}: {mark}]" for mark in marks))
    if row.pin is not None:
        st.caption(f"Kept by {form.plain(row.pin.by)}: {form.plain(row.pin.note)}")


def _contents(ctx: Context, actor: Actor, row: SnapshotRow, manifest: Manifest) -> None:
    facts = {
        "Id": manifest.id,
        "Why": REASONS.get(manifest.reason, manifest.reason),
        "Asked by": f"{form.plain(manifest.asked_by)} on {form.plain(manifest.host)}",
        "Data": f"{form.size(manifest.plain_bytes)}, stored in {form.size(manifest.stored_bytes)}",
        "Rows": f"{form.number(sum(t.rows for t in manifest.tables.values()))} in "
        f"{form.plural(len(manifest.tables), 'table')}",
        "Pictures": f"{form.number(manifest.image_count)}, {form.size(manifest.image_bytes)}",
        "Vectors": _matching(manifest),
        "Took": form.duration(sum(manifest.step_seconds.values())),
    }
    if ctx.settings.copy_url is not None:
        facts["Second copy"] = form.plain(copy_status.line(row, ctx.now()))
    st.table({"": list(facts), " ": list(facts.values())}, border="horizontal", hide_header=True)
    for note in manifest.notes:
        st.caption(f":material/info: {form.plain(note)}")
    if actor.may(Permission.BACKUP_CREATE):
        _verify_again(ctx, actor, row)
    st.markdown("**Parts**")
    st.caption("Each part opens with standard tools. If this program is gone, your data is not.")
    order = list(PARTS)
    for component in sorted(manifest.components, key=lambda found: order.index(found.part)):
        _component(ctx, actor, manifest, component)
    legacy_remove.show(ctx, actor, row)


def _matching(manifest: Manifest) -> str:
    if manifest.match is None:
        return "not compared with the products"
    told = matching.headline(manifest.match)
    return f"{told[:1].upper()}{told[1:]}"


def _verify_again(ctx: Context, actor: Actor, row: SnapshotRow) -> None:
    pressed = st.button(
        "Read back again",
        icon=":material/fact_check:",
        key="verify",
        help="Fetches every stored byte, unpacks it and compares it with what was backed up.",
    )
    if not pressed:
        return
    with shown_errors():
        with watched("Reading every part back") as watch:
            backup.verify(ctx, actor, row.id, lambda done: watch("", done))
        say_after_rerun("Read back in full: every byte is as it was backed up.")
        st.rerun()


def _component(ctx: Context, actor: Actor, manifest: Manifest, component: Component) -> None:
    title, icon = PARTS[component.part]
    title += next((words for sign, words in _FORMS if sign in component.name), "")
    with st.expander(
        f"{title}: {form.size(component.stored_bytes)}",
        icon=f":material/{icon}:",
        key=f"part_{component.name}",
    ):
        st.text(f"{component.name}\n{form.size(component.plain_bytes)} before compression")
        st.caption("Open it without this program")
        st.code(component.open_with, language="bash", wrap_lines=True)
        if not actor.may(Permission.BACKUP_DOWNLOAD):
            return
        if component.stored_bytes > DOWNLOAD_LIMIT:
            st.caption(
                f"Larger than {form.size(DOWNLOAD_LIMIT)}: fetch it from the store directly."
            )
            st.code(_fetch_command(ctx, component), language="bash", wrap_lines=True)
            return
        st.download_button(
            "Download",
            data=_reader(manifest.id, component.name),
            file_name=f"{manifest.id}-{component.name}",
            mime="application/octet-stream",
            icon=":material/download:",
            on_click="ignore",
            key=f"download_{component.name}",
        )


def _fetch_command(ctx: Context, component: Component) -> str:
    url = ctx.settings.store_url
    if url.startswith("file:"):
        return f"cp '{url.removeprefix('file:')}/{component.key}' ."
    return f"aws s3 cp '{url}/{component.key}' ."


def _reader(snapshot_id: str, name: str) -> Callable[[], bytes]:
    """Reads the part when somebody clicks, not before, and asks again who that is.

    Streamlit calls it outside the page's run, so the sign-in is looked up by its token.
    """
    ctx, held = session.context(), session.token()

    def read() -> bytes:
        signed_in = sessions.check(ctx, held, touch=False) if held else None
        if signed_in is None:
            raise Refused("You are signed out; nothing was downloaded.", "Sign in again.")
        with backup.open_component(ctx, signed_in.actor, snapshot_id, name) as (_part, stream):
            return stream.read()

    return read
