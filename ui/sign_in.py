"""The screens before the desk: first administrator, sign-in, first password; and one's account.

The form hands name and password to streamlit-authenticator, whose own check and counter are
replaced: they forget every failure with the rerun, answer sooner for unknown names, and would
need every hash in the page. `services.people.sign_in` checks instead.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import streamlit as st

from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Conflict, Invalid
from services.people import accounts, passwords, setup, sign_in
from services.people.sessions import Session
from ui import cookies, dialogs, session
from ui.format import plain
from ui.messages import say_after_rerun, shown_errors

_INVITED = "desk_invited"
_WAS_IN = "desk_was_signed_in"
_HIDDEN = "password"


def enter(page_title: str) -> Session:
    """Give whoever is signed in, or show the way in and stop.

    Args:
        page_title: of the page that the address names; it opens right after signing in.
    """
    ctx = session.context()
    person = session.current()
    if person is None:
        slot = st.empty()
        with slot.container():
            _way_in(ctx, page_title)
        person = session.current()
        if person is None:
            st.stop()
        slot.empty()
    st.session_state[_WAS_IN] = True
    return person


def _way_in(ctx: Context, page_title: str) -> None:
    with _narrow():
        st.title("InsightShop Admin", anchor=False)
        if accounts.first_start(ctx):
            _first_administrator(ctx)
        elif _INVITED in st.session_state:
            _first_password(ctx)
        else:
            _sign_in(ctx, page_title)


def _narrow() -> AbstractContextManager[Any]:
    middle = st.container(horizontal=True, horizontal_alignment="center")
    return middle.container(width=420)


def _sign_in(ctx: Context, page_title: str) -> None:
    if st.session_state.get(_WAS_IN):
        st.info(
            "You were signed out: the session ended here or in another tab, "
            "or an administrator changed the account.",
            icon=":material/logout:",
        )
    with st.form("sign_in_form"):
        st.header("Sign in", anchor=False)
        if page_title:
            st.caption(f"{plain(page_title)} opens right after.")
        name = st.text_input("User name", key="sign_in_name", autocomplete="username")
        password = st.text_input(
            "Password or one-time secret",
            key="sign_in_password",
            type=_HIDDEN,
            autocomplete="current-password",
        )
        asked = _submit("Sign in", "sign_in_submit")
    if asked:
        with shown_errors():
            if not name.strip() or not password:
                raise Invalid("Type your user name and your password.")
            _check(ctx, name, password)
    st.caption("No account, or locked out? An administrator can give you a one-time secret.")


def _check(ctx: Context, name: str, password: str) -> None:
    """Send a name and a password through streamlit-authenticator's sign-in."""
    # Imported when somebody signs in: it brings in a captcha and a mail client.
    from streamlit_authenticator.controllers import AuthenticationController

    controller = AuthenticationController(
        {"usernames": {}}, auto_hash=False, secret_key=setup.secret_key(ctx)
    )
    model = controller.authentication_model
    outcome: list[sign_in.SignedIn | sign_in.FirstPassword] = []

    def check_credentials(username: str, _stripped: str) -> bool:
        found = sign_in.sign_in(ctx, username, password, session.address())
        outcome.append(found)
        model.credentials["usernames"][username] = {"name": username}
        return True

    model.check_credentials = check_credentials
    try:
        controller.login(name, password)
    finally:
        # What it notes in the session counts for nothing here; the control database decides.
        for key in ("name", "authentication_status", "username", "email", "roles", "logout"):
            st.session_state.pop(key, None)
    for found in outcome:
        if isinstance(found, sign_in.SignedIn):
            session.keep(found.token)
        else:
            st.session_state[_INVITED] = (found.username, found.display_name, password)
            st.rerun()


def _first_password(ctx: Context) -> None:
    username, display_name, secret = st.session_state[_INVITED]
    with st.form("first_password_form"):
        st.header(f"Welcome, {plain(display_name)}", anchor=False)
        st.caption("Choose your own password. The one-time secret stops working then.")
        password = _new_password("first_password", username)
        asked = _submit("Save and sign in", "first_password_submit")
    if asked:
        with shown_errors():
            signed = sign_in.accept_invite(ctx, username, secret, password(), session.address())
            del st.session_state[_INVITED]
            session.keep(signed.token)
    if st.button("Back to sign in", key="first_password_back", type="tertiary"):
        del st.session_state[_INVITED]
        st.rerun()


def _first_administrator(ctx: Context) -> None:
    with st.form("first_administrator_form"):
        st.header("Create the first administrator", anchor=False)
        st.caption(
            "This desk has no account yet. The setup code is printed in the console of the "
            "server, so that only whoever runs it can claim it."
        )
        code = st.text_input("Setup code", key="first_code", autocomplete="one-time-code")
        name = st.text_input("Your name", key="first_name", autocomplete="name")
        username = st.text_input("User name", key="first_username", autocomplete="username")
        password = _new_password("first", username)
        asked = _submit("Create and sign in", "first_submit")
    if not asked:
        return
    with shown_errors():
        chosen = password()
        try:
            accounts.create_first(ctx, code, username, name or username, chosen, session.address())
        except Conflict:
            # Somebody was faster: what this browser needs now is the sign-in form.
            say_after_rerun("The first administrator has been created already", ":material/info:")
            st.rerun()
        signed = sign_in.sign_in(ctx, username, chosen, session.address())
        if isinstance(signed, sign_in.SignedIn):
            session.keep(signed.token)


def _new_password(key: str, username: str) -> Callable[[], str]:
    """Two fields for a new password; the result gives it, or says that the two differ."""
    first = st.text_input(
        "New password",
        key=f"{key}_password",
        type=_HIDDEN,
        autocomplete="new-password",
        help=f"At least {passwords.MIN_LENGTH} characters. Several unrelated words are easy to "
        "remember and hard to guess.",
    )
    again = st.text_input(
        "The same again", key=f"{key}_again", type=_HIDDEN, autocomplete="new-password"
    )

    def checked() -> str:
        passwords.check_new(first, username)
        if first != again:
            raise Invalid("The two passwords differ; nothing was changed.")
        return first

    return checked


def _submit(label: str, key: str) -> bool:
    return st.form_submit_button(label, key=key, type="primary", width="stretch")


@st.dialog("Change password", icon=":material/key:", on_dismiss=dialogs.close)
def change_password_dialog(actor: Actor) -> None:
    """Ask for the old and the new password of whoever is signed in."""
    ctx = session.context()
    person = session.current()
    if person is None or person.actor.id != actor.id:
        st.rerun()
    st.caption("You stay signed in here; every other browser is signed out.")
    with st.form("change_password_form", border=False):
        current = st.text_input(
            "Current password",
            key="own_current",
            type=_HIDDEN,
            autocomplete="current-password",
        )
        password = _new_password("own", person.account.username)
        asked = _submit("Change password", "own_submit")
    if asked:
        with shown_errors():
            signed = sign_in.change_password(
                ctx, person.actor, current, password(), session.address()
            )
            session.keep(signed.token)
            dialogs.close()
            say_after_rerun("Password changed")
            st.rerun()


@st.fragment(run_every=20)
def leave_when_signed_out() -> None:
    """Throw an idle tab out when its session is gone; draws nothing."""
    if session.current(touch=False) is None:
        st.rerun(scope="app")


def deliver_cookie() -> None:
    """Bring a new sign-in to the browser, so that it survives a reload."""
    cookies.deliver(session.context())
