"""Store: where the backups lie, how they are kept there, and what comes back from the archive."""

from __future__ import annotations

import streamlit as st

from services import store
from services.core.access import Actor, Permission
from services.core.context import Context
from services.core.errors import DeskError
from services.protection.bucket.facts import StoreFacts
from services.protection.model import Storage
from ui import copy_status, retrieval, store_bucket, store_timeline
from ui import format as form
from ui.messages import say_after_rerun, show_error, show_problem, shown_errors
from ui.session import open_page

_WHERE = {
    Storage.STANDARD: "readable",
    Storage.INSTANT: "readable, in Glacier Instant Retrieval",
    Storage.ARCHIVED: "in the archive",
    Storage.READY: "brought back for now",
}
_RETRIEVALS_SHOWN = 8
_CONFIGURE = """BACKUP_STORE_URL=s3://BUCKET/PREFIX
AWS_REGION=eu-central-1
AWS_ACCESS_KEY_ID=...        # or a profile, or the machine's role
AWS_SECRET_ACCESS_KEY=...
# AWS_ENDPOINT_URL_S3=https://...   for a server that is not Amazon's
# ARCHIVE_AFTER_DAYS=365            moves old backups to Glacier"""


def main() -> None:
    """Draw the page."""
    ctx, actor = open_page(
        "Store",
        Permission.BACKUP_VIEW,
        lead="Where the backups lie, how they are kept there, and who can read them.",
    )
    found = store.facts(ctx, actor)
    _place(found)
    if found.bucket:
        _bucket(ctx, actor)
        _retrievals(ctx, actor)
    else:
        _folder(ctx)
    left, right = st.columns(2, gap="medium")
    with left:
        _keys(found)
    with right:
        _copy(ctx, actor)


def _place(found: StoreFacts) -> None:
    with st.container(border=True, key="place"):
        icon = "cloud" if found.bucket else "folder"
        kind = f"Bucket on {form.plain(found.server)}" if found.server else "Folder"
        st.markdown(f":material/{icon}: **{kind}**")
        st.code(found.url, language=None, wrap_lines=True)
        if not found.total:
            st.caption("There is no backup in it yet. Press Back up now on the Overview.")
            return
        held = ", ".join(
            f"{form.number(found.snapshots[where])} {word}"
            for where, word in _WHERE.items()
            if found.snapshots.get(where)
        )
        st.caption(
            f"{form.plural(found.total, 'backup')} ({held}), {form.size(found.stored_bytes)} stored"
        )


def _bucket(ctx: Context, actor: Actor) -> None:
    st.header("Life of a backup", anchor=False)
    try:
        plan = store.bucket_plan(ctx, actor, hurried=True)
    except DeskError as error:
        show_error(error)
        return
    store_timeline.show(plan.stages)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header("How the bucket is kept", anchor=False)
        if st.button("Look again", icon=":material/refresh:", type="tertiary", key="look_again"):
            say_after_rerun("The bucket was asked again.")
            st.rerun()
    store_bucket.show(ctx, actor, plan)


def _folder(ctx: Context) -> None:
    st.info(
        "It protects from mistakes and from a broken database, not from the loss of this machine "
        "or its disk. A folder has no versions, no archive and no lock: what can write to it can "
        "delete it.",
        icon=":material/info:",
        title="A folder, not a bucket",
    )
    settings = ctx.settings
    asked = []
    if settings.archive_after_days:
        asked.append("ARCHIVE_AFTER_DAYS")
    if settings.object_lock_days:
        asked.append("OBJECT_LOCK_DAYS")
    if asked:
        st.warning(f"{' and '.join(asked)} can do nothing for a folder.", icon=":material/warning:")
    with st.expander(
        "Keep backups in an S3 bucket instead", key="configure", icon=":material/cloud:"
    ):
        st.markdown(
            "Put these into `.env`, start the desk again, and make the first backup. This page "
            "then shows how the bucket is kept and prepares it. What lies in the folder stays "
            "there. `docs/storage.md` explains it, `docs/deploy` has the policy for AWS."
        )
        st.code(_CONFIGURE, language="bash", wrap_lines=True)


def _retrievals(ctx: Context, actor: Actor) -> None:
    rows = store.retrievals(ctx, actor)
    if not rows:
        return
    st.header("Brought back from the archive", anchor=False)
    with st.container(border=True, key="retrievals"):
        for row in rows[:_RETRIEVALS_SHOWN]:
            retrieval.show_row(ctx, row)


def _keys(found: StoreFacts) -> None:
    st.header("Encryption and signatures", anchor=False)
    with st.container(border=True, key="keys"):
        if found.problem:
            show_problem(*found.problem)
            return
        if found.recipients:
            open_here = (
                "This machine has one, so it can restore."
                if found.can_open
                else "This machine has none: it makes backups and can't open them."
            )
            opens = form.plural(found.recipients, "key opens", "keys open each alone")
            st.markdown(f":green-badge[:material/lock: encrypted] {opens} new backups. {open_here}")
        else:
            st.markdown(
                ":gray-badge[:material/lock_open: not encrypted] Whoever reads the store reads "
                "the backups. `python services/doctor.py keys` makes a key pair."
            )
        if found.signing_keys:
            st.markdown(
                ":green-badge[:material/draw: signed] A forged or altered backup is refused "
                f"({form.plural(found.signing_keys, 'key')} accepted)."
            )
        else:
            st.markdown(
                ":gray-badge[:material/draw: not signed] Somebody who can write to the store "
                "could forge a backup. `BACKUP_SIGNING_KEY` prevents that."
            )
        if found.total:
            st.caption(
                f"Of {form.plural(found.total, 'backup')}, {_how_many(found.encrypted)} encrypted "
                f"and {_how_many(found.signed)} signed."
            )


def _how_many(count: int) -> str:
    return f"{form.number(count) if count else 'none'} {'are' if count > 1 else 'is'}"


def _copy(ctx: Context, actor: Actor) -> None:
    st.header("Second copy", anchor=False)
    with st.container(border=True, key="copy"), shown_errors():
        copy_status.show(ctx, actor)


main()
