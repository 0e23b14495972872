"""A backup in the archive: how it comes back, and waiting for it.

It stands before the restore of that backup, and on the page of the store in a row of all.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import streamlit as st

from services import store
from services.core.access import Actor, Permission
from services.core.context import Context
from services.protection.archive.fees import PRICES_OF
from services.protection.archive.model import Offer, Options, Retrieval, RetrievalState
from services.protection.model import SnapshotRow, Storage
from services.protection.stores.base import Tier
from ui import format as form
from ui.messages import say_after_rerun, shown_errors
from ui.session import guard

_STATES: dict[RetrievalState, tuple[str, str]] = {
    RetrievalState.WAITING: ("hourglass_top", "orange"),
    RetrievalState.READY: ("unarchive", "green"),
    RetrievalState.EXPIRED: ("history", "gray"),
    RetrievalState.FAILED: ("error", "red"),
    RetrievalState.DROPPED: ("close", "gray"),
}
_TITLES = {Tier.EXPEDITED: "Expedited", Tier.STANDARD: "Standard", Tier.BULK: "Bulk"}
_LOOK_SECONDS = 30
_SHORTEST, _USUAL, _LONGEST = 1, 3, 30


def stands_before(ctx: Context, actor: Actor, row: SnapshotRow) -> bool:
    """Show what the archive has to say of a backup.

    Returns:
        Whether it can't be restored now, so that nothing of a restore is to be shown.
    """
    if row.storage is Storage.STANDARD:
        return False
    if row.storage is Storage.READY and _is_ready(ctx, actor, row.id):
        return False
    days = int(st.session_state.get(f"retrieve_days_{row.id}", _USUAL))
    found = store.retrieval_options(ctx, actor, row.id, days)
    if found.storage is Storage.INSTANT:
        st.caption(
            f":material/ac_unit: Lies in Glacier Instant Retrieval: readable at once; reading it "
            f"costs {_money(found.reading_cost)}."
        )
        return False
    if found.storage is Storage.READY and found.ready_until is not None:
        _say_until(found.ready_until)
        return False
    if found.storage is Storage.STANDARD:
        return False
    if found.retrieval is not None and found.retrieval.state is RetrievalState.WAITING:
        _waiting(row.id, found.retrieval.id)
    else:
        _offer(ctx, actor, found)
    return True


def _is_ready(ctx: Context, actor: Actor, snapshot_id: str) -> bool:
    """Whether a look at the retrieval (which asks the store now and then) says so."""
    for row in store.retrievals(ctx, actor):
        if row.snapshot_id == snapshot_id:
            if row.state is not RetrievalState.READY or row.ready_until is None:
                return False
            _say_until(row.ready_until)
            return True
    return False


def _say_until(moment: datetime) -> None:
    st.markdown(
        f":green-badge[:material/unarchive: readable until {form.when(moment)}]  \n"
        ":small[:gray[A copy out of the archive. After that it has to be brought back again.]]"
    )


def _offer(ctx: Context, actor: Actor, found: Options) -> None:
    st.markdown("**:material/inventory_2: This backup lies in the archive**")
    st.caption(
        f"{form.plural(found.objects, 'object')}, {form.size(found.stored_bytes)}, in "
        f"{_classes(found.classes)}. It has to be brought back before it can be compared with "
        "the shop or restored; the original stays in the archive."
    )
    last = found.retrieval
    if last is not None and last.state is RetrievalState.EXPIRED:
        ended = f" ({form.age(last.ready_until, ctx.now())})" if last.ready_until else ""
        st.info(
            f"It was back, and that copy has expired{form.plain(ended)}. Bring it back again.",
            icon=":material/history:",
        )
    if last is not None and last.state is RetrievalState.FAILED:
        st.warning(form.plain(last.error or "It failed."), icon=":material/warning:")
    tiers = {offer.tier: offer for offer in found.offers}
    if not tiers:
        st.warning("Its objects lie in archives that no one retrieval can serve.")
        return
    tier = st.radio(
        "How quickly",
        list(tiers),
        index=list(tiers).index(Tier.STANDARD) if Tier.STANDARD in tiers else 0,
        format_func=_TITLES.__getitem__,
        captions=[_caption(offer) for offer in tiers.values()],
        key=f"retrieve_tier_{found.snapshot_id}",
    )
    days = st.number_input(
        "Days to keep the copy readable",
        _SHORTEST,
        _LONGEST,
        _USUAL,
        key=f"retrieve_days_{found.snapshot_id}",
        help="A drill or a second look takes a while; each day of the copy costs a little.",
    )
    st.caption(
        f"An estimate from AWS's list prices of {PRICES_OF}; they differ by region, and other "
        "servers ask other prices. Waiting times are typical, not promised."
    )
    if st.button(
        "Bring it back",
        type="primary",
        icon=":material/unarchive:",
        key="retrieve",
        disabled=not actor.may(Permission.RESTORE),
        help=f"Asks the archive for every object of this backup, {_money(tiers[tier].cost)}. "
        "Nothing of the shop is changed.",
    ):
        with shown_errors():
            asked = store.request_retrieval(ctx, actor, found.snapshot_id, tier, int(days))
            say_after_rerun(
                "It is back already."
                if asked.state is RetrievalState.READY
                else f"Asked for; it comes back in {tiers[tier].wait}.",
                ":material/unarchive:",
            )
            st.rerun()


@st.fragment(run_every=_LOOK_SECONDS)
def _waiting(snapshot_id: str, retrieval_id: str) -> None:
    ctx, actor = guard(Permission.BACKUP_VIEW)
    rows = store.retrievals(ctx, actor)
    row = next((each for each in rows if each.id == retrieval_id), None)
    if row is None or row.state is not RetrievalState.WAITING:
        st.rerun(scope="app")
    found = store.retrieval_options(ctx, actor, snapshot_id, row.days)
    longest = next((each.longest_hours for each in found.offers if each.tier is row.tier), None)
    with st.container(border=True, key=f"retrieval_{row.id}"):
        st.markdown("**:material/hourglass_top: Coming back from the archive**")
        st.progress(row.objects_ready / max(row.objects, 1), text=_there(row))
        st.caption(_since(ctx, row, longest))
        if found.faster and actor.may(Permission.RESTORE):
            _hurry(ctx, actor, found, row)


def _hurry(ctx: Context, actor: Actor, found: Options, row: Retrieval) -> None:
    """Faster ways for what is on its way; each costs as if it were asked for anew."""
    st.caption("It can be made faster, at the full price of the faster way:")
    with st.container(horizontal=True, key=f"faster_{row.id}"):
        for offer in found.faster:
            if st.button(
                f"{_TITLES[offer.tier]}: {offer.wait}, {_money(offer.cost)}",
                icon=":material/speed:",
                key=f"faster_{offer.tier.value}_{row.id}",
                help="Asks the archive again by a faster tier, at the full price of that tier. "
                "The copy stays readable for as many days as were asked for first.",
            ):
                with shown_errors():
                    store.request_retrieval(ctx, actor, row.snapshot_id, offer.tier, row.days)
                    say_after_rerun(
                        f"Asked for again; it comes back in {offer.wait}.", ":material/speed:"
                    )
                    st.rerun(scope="app")


def show_row(ctx: Context, row: Retrieval) -> None:
    """One retrieval among others: of which backup, how far it is, and the way to it."""
    icon, colour = _STATES[row.state]
    made = form.made_at(row.snapshot_id)
    named = f"Backup of {form.when(made)}" if made else row.snapshot_id
    told = _asked(ctx, row)
    if row.state is RetrievalState.WAITING:
        told += f" {_there(row)}."
    if row.state is RetrievalState.READY and row.ready_until:
        told += f" Readable until {form.when(row.ready_until)}."
    if row.error:
        told += f" {form.plain(row.error)}"
    with st.container(
        horizontal=True, vertical_alignment="center", gap="small", key=f"retrieved_{row.id}"
    ):
        st.markdown(
            f"{form.plain(named)} :{colour}-badge[:material/{icon}: {row.state.value}]  \n"
            f":small[:gray[{told}]]",
            width="stretch",
        )
        if st.button(
            "Open",
            icon=":material/arrow_forward:",
            type="tertiary",
            key=f"open_{row.id}",
            help="Opens this backup in the list.",
        ):
            st.switch_page("pages/backups.py", query_params={"snapshot": row.snapshot_id})


def _there(row: Retrieval) -> str:
    return f"{row.objects_ready} of {form.plural(row.objects, 'object')} there"


def _asked(ctx: Context, row: Retrieval) -> str:
    return (
        f"Asked for {form.age(row.asked_at, ctx.now())} by {form.plain(row.asked_by)}, "
        f"{_TITLES[row.tier].lower()}, to stay {form.plural(row.days, 'day')}."
    )


def _since(ctx: Context, row: Retrieval, longest: float | None) -> str:
    now, said = ctx.now(), _asked(ctx, row)
    if longest is not None:
        due = row.asked_at + timedelta(hours=longest)
        late = "It is late; some objects take longer." if due < now else ""
        said += f" {late or f'Expected by {form.when_short(due, now)}.'}"
    return f"{said} This goes on when you leave the page or the desk restarts."


def _caption(offer: Offer) -> str:
    note = f"; {offer.note}" if offer.note else ""
    return f"{offer.wait} · {_money(offer.cost)}{note}"


def _money(dollars: float) -> str:
    # A dollar sign before another one is mathematics in Markdown.
    return "under US\\$ 0.01" if dollars < 0.01 else f"about US\\$ {dollars:,.2f}"


def _classes(classes: tuple[str, ...]) -> str:
    names = {"GLACIER": "Glacier Flexible Retrieval", "DEEP_ARCHIVE": "Glacier Deep Archive"}
    return " and ".join(names.get(each, each) for each in classes)
