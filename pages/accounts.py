"""Accounts: who may sign in, as what, and since when."""

from __future__ import annotations

import streamlit as st

from services.core.access import Actor, Permission
from services.core.context import Context
from services.people import accounts, roles
from services.people.model import Account
from ui import dialogs
from ui.format import age, plain, plural, viewer_zone, when, when_short
from ui.messages import say_after_rerun, shown_errors
from ui.session import guard, open_page
from ui.tables import on_phone

_STATES = ("Active", "Disabled", "Invited", "Expired")
_STATE_COLOURS = ("green", "red", "blue", "orange")
_STATE_WORDS = {
    "active": "Can sign in.",
    "disabled": "Can't sign in. Their history and their password are kept.",
    "invited": "Has a one-time secret that was not used yet.",
    "expired": "Their one-time secret was never used and has expired. Give a new one.",
}


def main() -> None:
    """Draw the page."""
    ctx, actor = open_page(
        "Accounts",
        Permission.ACCOUNTS_MANAGE,
        lead="Who may sign in to this desk. A change takes effect at once, in every open tab.",
    )
    everybody = accounts.list_accounts(ctx, actor)
    with st.container(horizontal=True, horizontal_alignment="distribute", key="filters"):
        wanted = st.text_input(
            "Search",
            key="q",
            type="search",
            bind="query-params",
            placeholder="Name or role",
            label_visibility="collapsed",
            icon=":material/search:",
            width=300,
        )
        st.button(
            "New account",
            key="account_new",
            type="primary",
            icon=":material/add:",
            on_click=dialogs.open_dialog,
            args=("new account",),
        )
    if dialogs.is_open("new account"):
        _create()
    shown = [account for account in everybody if _matches(account, wanted or "")]
    left, right = st.columns([5, 3], gap="medium")
    with left, st.container(key="list_of_accounts"):
        chosen = _table(ctx, shown, len(everybody))
        if chosen is None:
            _explain(everybody)
    with right, st.container(key="chosen_account" if chosen else "nothing_chosen"):
        if chosen is None:
            st.empty()
        else:
            with st.container(border=True):
                _details(ctx, actor, chosen)


def _matches(account: Account, wanted: str) -> bool:
    text = f"{account.username} {account.display_name} {account.role}".casefold()
    return wanted.strip().casefold() in text


def _table(ctx: Context, shown: list[Account], total: int) -> Account | None:
    if not shown:
        st.info("No account matches this search.", icon=":material/search_off:")
        return None
    now = ctx.now()
    columns: dict[str, list[object]] = {
        "Name": [account.display_name for account in shown],
        "State": [[account.state(now).capitalize()] for account in shown],
        "Role": [account.role.capitalize() for account in shown],
        "User name": [account.username for account in shown],
        "Last sign-in": [age(account.last_sign_in_at, now) for account in shown],
    }
    if on_phone():
        del columns["User name"], columns["Last sign-in"]
    picked = st.dataframe(
        columns,
        hide_index=True,
        width="stretch",
        height="content" if len(shown) <= 16 else 560,
        column_config={
            "State": st.column_config.MultiselectColumn(
                options=_STATES, color=_STATE_COLOURS, width=80
            ),
            "Name": st.column_config.TextColumn(width=150),
            "Role": st.column_config.TextColumn(width=80),
            "Last sign-in": st.column_config.TextColumn(width=90),
            "User name": st.column_config.TextColumn(width=105),
        },
        on_select="rerun",
        selection_mode="single-row",
        # Another list is another table: a position must never point at somebody else.
        key=f"accounts_table_{'-'.join(account.id for account in shown)}",
        alt="Accounts with name, state, role and last sign-in; Shift and Space open a row",
    )
    count = f"{len(shown)} of " if len(shown) < total else ""
    st.caption(f"{count}{plural(total, 'account')}. Choose a row to see or change one.")
    rows = picked.selection.rows
    return shown[rows[0]] if rows and rows[0] < len(shown) else None


def _explain(everybody: tuple[Account, ...]) -> None:
    if len(everybody) == 1:
        st.markdown("**You are the only one here**")
        st.caption(
            "Create an account for everybody who works with this desk, and a second "
            "administrator in case you are away."
        )
    st.header("What each role may do", anchor=False)
    with st.grid(4, min_column_width=200, gap="small"):
        for role in roles.ORDER:
            with st.container(border=True, height="stretch", gap="xxsmall"):
                st.markdown(f"**{role.capitalize()}**")
                st.caption(roles.WORDS[role])


def _details(ctx: Context, actor: Actor, account: Account) -> None:
    now, zone = ctx.now(), viewer_zone()
    state = account.state(now)
    st.markdown(f"**{plain(account.display_name)}**")
    st.text(account.username)
    st.caption(_STATE_WORDS[state])
    last = when(account.last_sign_in_at, zone) if account.last_sign_in_at else "never"
    st.caption(
        f"Last sign-in: {plain(last)}  \n"
        f"Created: {plain(when_short(account.created_at, now, zone))} "
        f"by {plain(account.created_by)}"
    )
    if account.id == actor.id:
        st.info(
            "This is you. Another administrator can change your role; your password you "
            "change at the foot of the sidebar.",
            icon=":material/info:",
        )
        return
    _role_form(ctx, actor, account)
    with st.container(horizontal=True, gap="small"):
        if account.enabled:
            disabling = st.button(
                "Disable",
                key="account_disable",
                icon=":material/block:",
                help="Signs them out at once, everywhere. Enable brings everything back.",
            )
            if disabling:
                with shown_errors():
                    accounts.disable(ctx, actor, account.id, account.version)
                    say_after_rerun(f"{account.display_name} is disabled and signed out")
                    st.rerun()
        elif st.button("Enable", key="account_enable", icon=":material/check_circle:"):
            with shown_errors():
                accounts.enable(ctx, actor, account.id, account.version)
                say_after_rerun(f"{account.display_name} can sign in again")
                st.rerun()
        st.button(
            "New one-time secret",
            key="account_reset",
            icon=":material/key:",
            help="For a forgotten password, or a secret that expired.",
            on_click=dialogs.open_dialog,
            args=("reset", account.id),
        )
    if dialogs.is_open("reset", account.id):
        _reset(account)


def _role_form(ctx: Context, actor: Actor, account: Account) -> None:
    options = roles.ORDER if account.role in roles.ORDER else (*roles.ORDER, account.role)
    role = st.selectbox(
        "Role",
        options,
        index=options.index(account.role),
        format_func=str.capitalize,
        key=f"account_role_{account.id}_{account.version}",
    )
    st.caption(roles.WORDS.get(role, "This role no longer exists and allows nothing."))
    if role != account.role:
        st.caption("They are signed out, and have the new role when they sign in again.")
        if st.button(f"Make them {role}", key="account_role_save", type="primary"):
            with shown_errors():
                accounts.set_role(ctx, actor, account.id, role, account.version)
                say_after_rerun(f"{account.display_name} is {role} now")
                st.rerun()


@st.dialog("New account", icon=":material/person_add:", on_dismiss=dialogs.close)
def _create() -> None:
    ctx, actor = guard(Permission.ACCOUNTS_MANAGE)
    dialogs.leave_when_closed("new account")
    slot = st.empty()
    with slot.container(), st.form("account_form", border=False):
        name = st.text_input("Name", key="account_name", help="What others see.", max_chars=120)
        username = st.text_input(
            "User name",
            key="account_username",
            help="What they sign in with: letters, digits and . _ - @",
            autocomplete="off",
        )
        role = st.radio(
            "Role",
            roles.ORDER,
            index=len(roles.ORDER) - 1,
            captions=[roles.WORDS[role] for role in roles.ORDER],
            format_func=str.capitalize,
            key="account_role",
        )
        asked = st.form_submit_button(
            "Create account", key="account_create", type="primary", width="stretch"
        )
    if asked:
        with shown_errors():
            account, secret = accounts.create(ctx, actor, username, name or username, role)
            slot.empty()
            _show_secret(account, secret)


@st.dialog("New one-time secret", icon=":material/key:", on_dismiss=dialogs.close)
def _reset(account: Account) -> None:
    ctx, actor = guard(Permission.ACCOUNTS_MANAGE)
    dialogs.leave_when_closed("reset", account.id)
    slot = st.empty()
    with slot.container():
        st.markdown(
            f"**{plain(account.display_name)}** is signed out everywhere, and their password "
            "stops working. They choose a new one with the secret."
        )
        asked = st.button("Give a new secret", key="account_reset_now", type="primary")
    if asked:
        with shown_errors():
            account, secret = accounts.reset(ctx, actor, account.id, account.version)
            slot.empty()
            _show_secret(account, secret)


def _show_secret(account: Account, secret: str) -> None:
    # Drawn in this run alone, kept nowhere: neither the session nor the log ever has it.
    st.markdown(f"One-time secret for **{plain(account.display_name)}**")
    st.code(secret, language=None)
    if account.invite_expires_at is not None:
        st.caption(
            f"It is shown only now. They sign in as {plain(account.username)} with it once, "
            f"until {plain(when(account.invite_expires_at))}, and choose their own password."
        )
    st.button(
        "I have passed it on",
        key="account_secret_seen",
        type="primary",
        width="stretch",
        on_click=dialogs.close,
    )


main()
