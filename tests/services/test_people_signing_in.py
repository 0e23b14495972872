"""Passwords, sign-ins, one-time secrets, sessions: who gets in, who does not, what is kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, select, update

from db.control import accounts as accounts_table
from db.control import auth_sessions
from db.engine import read, write
from services.core.access import ROLES, command_line_actor
from services.core.errors import Invalid, Refused
from services.people import accounts, passwords, sessions, sign_in, throttle
from services.people.model import actor_of
from services.people.throttle import TooManyAttempts
from tests.services.people import GOOD, OTHER, both, everything_kept, log_of, member, token_of

pytestmark = pytest.mark.usefixtures("cheap_bcrypt")


# --- passwords -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short", "at least 12"),
        ("ä" * 37, "too long"),
        (" twelve letters and more", "space"),
        ("tab\tin the middle of it", "control"),
        ("ada likes odd ducks", "user name"),
        ("Password1234!", "first that anybody"),
        ("aaaaaaaaaaaaaaaa", "first that anybody"),
        ("123456789012", "first that anybody"),
        ("qwertyuiop123", "first that anybody"),
        ("InsightShop2026!", "first that anybody"),
    ],
)
def test_a_weak_or_unusable_password_is_refused_with_its_reason(password, said):
    with pytest.raises(Invalid, match=said):
        passwords.check_new(password, "ada_lovelace" if "ada" not in password else "ada likes")


def test_72_bytes_are_taken_and_a_longer_guess_never_matches_its_beginning():
    longest = "x1y2z3w4" * 9
    passwords.check_new(longest, "ada")
    stored = passwords.make_hash(longest)
    assert passwords.matches(longest, stored)
    assert not passwords.matches(longest + "tail", stored)
    assert not passwords.matches("", None)
    assert not passwords.matches("nul\0nul", stored)


def test_the_same_letters_composed_differently_are_the_same_password():
    assert passwords.matches("cafe\u0301 and cake", passwords.make_hash("caf\u00e9 and cake"))


# --- signing in ------------------------------------------------------------------------


def test_signing_in_gives_a_token_that_is_kept_only_as_a_hash(desk):
    ada = member(desk, "ada")
    signed = sign_in.sign_in(desk, " Ada ", GOOD, "10.0.0.9")
    assert isinstance(signed, sign_in.SignedIn)
    session = sessions.check(desk, signed.token)
    assert session is not None
    assert (session.account.id, session.actor.permissions) == (ada.id, ROLES["admin"])
    kept = everything_kept(desk)
    assert signed.token not in kept
    assert GOOD not in kept
    assert [event.actor_name for event in log_of(desk, "session.sign_in")] == ["Ada"]


def test_unknown_name_wrong_password_and_disabled_account_answer_alike(desk, monkeypatch):
    member(desk, "boss")
    shut = member(desk, "shut", "manager")
    accounts.disable(desk, command_line_actor("root"), shut.id, shut.version)
    compared = []
    checkpw = passwords.bcrypt.checkpw
    monkeypatch.setattr(
        passwords.bcrypt, "checkpw", lambda a, b: compared.append(b[:7]) or checkpw(a, b)
    )
    answers = set()
    for name, password in (
        ("nobody", GOOD),
        ("boss", OTHER),
        ("shut", GOOD),
        ("", "x"),
        ("a\udc80", "b\udc80"),
    ):
        with pytest.raises(Refused) as refused:
            sign_in.sign_in(desk, name, password)
        answers.add((refused.value.message, refused.value.hint))
    assert len(answers) == 1
    # One bcrypt comparison of the same cost each: the time is the same too.
    assert compared == [b"$2b$04$"] * 5


def test_after_five_failures_a_name_pauses_whether_or_not_it_exists(desk, clock):
    member(desk, "ada")
    said = {}
    for name in ("ada", "nobody"):
        for _ in range(throttle.NAME_LIMIT):
            clock.forward(seconds=9)
            with pytest.raises(Refused, match="wrong"):
                sign_in.sign_in(desk, name, OTHER)
        clock.forward(seconds=9)
        with pytest.raises(TooManyAttempts) as refused:
            sign_in.sign_in(desk, name, GOOD)
        said[name] = str(refused.value)
    assert (
        said["ada"]
        == said["nobody"]
        == ("Too many attempts failed; this one was not looked at. Try again in 15 minutes.")
    )
    clock.forward(minutes=15)
    assert isinstance(sign_in.sign_in(desk, "ada", GOOD), sign_in.SignedIn)


def test_the_delay_doubles_before_the_fifth_failure(desk, clock):
    waits = []
    for failures in range(1, throttle.NAME_LIMIT):
        clock.forward(seconds=9)
        with pytest.raises(Refused, match="wrong"):
            sign_in.sign_in(desk, "ada", OTHER)
        if failures > 1:
            with pytest.raises(TooManyAttempts) as refused:
                sign_in.sign_in(desk, "ada", GOOD)
            waits.append(refused.value.wait.total_seconds())
    assert waits == [2, 4, 8]


def test_success_forgets_the_failures_of_a_name(desk, clock):
    member(desk, "ada")
    for _round in range(3):
        for _ in range(throttle.NAME_LIMIT - 1):
            with pytest.raises(Refused, match="wrong"):
                sign_in.sign_in(desk, "ada", OTHER)
            clock.forward(seconds=9)
        assert isinstance(sign_in.sign_in(desk, "ada", GOOD), sign_in.SignedIn)


def test_one_address_that_tries_many_names_is_paused_and_others_are_not(desk):
    member(desk, "ada")
    for number in range(throttle.ADDRESS_LIMIT):
        with pytest.raises(Refused, match="wrong"):
            sign_in.sign_in(desk, f"name{number}", OTHER, "10.6.6.6")
    with pytest.raises(TooManyAttempts):
        sign_in.sign_in(desk, "ada", GOOD, "10.6.6.6")
    assert isinstance(sign_in.sign_in(desk, "ada", GOOD, "10.0.0.9"), sign_in.SignedIn)


def test_guesses_sent_all_at_once_do_not_slip_through_the_throttle(ctx):
    member(ctx, "ada")

    def guess(number: int) -> type[BaseException]:
        with pytest.raises(Refused) as refused:
            sign_in.sign_in(ctx, "ada", f"{OTHER} {number}")
        return refused.type

    with ThreadPoolExecutor(12) as pool:
        looked_at = [kind for kind in pool.map(guess, range(24)) if kind is not TooManyAttempts]
    assert len(looked_at) <= throttle.NAME_LIMIT


def test_failed_and_refused_attempts_are_audited_without_what_was_typed_as_password(desk):
    for _ in range(12):
        with pytest.raises(Refused):
            sign_in.sign_in(desk, "Mallory" + "y" * 300, "hunter2 hunter2", "10.6.6.6")
    failed = log_of(desk, "sign_in.failed")
    assert failed and {event.outcome for event in failed} == {"failed"}
    assert all(len(event.subject_id) <= 64 for event in failed)
    assert "10.6.6.6" in failed[0].summary
    refused = log_of(desk, "sign_in.refused")
    assert [event.outcome for event in refused] == ["refused"]  # once a minute, not a flood
    assert "hunter2" not in everything_kept(desk)


# --- one-time secrets ------------------------------------------------------------------


def test_a_one_time_secret_leads_to_an_own_password_and_works_once(desk, clock):
    boss = actor_of(member(desk, "boss"))
    otto, secret = accounts.create(desk, boss, "otto", "Otto", "operator")
    assert otto.state(desk.now()) == "invited"
    first = sign_in.sign_in(desk, "otto", secret.lower().replace("-", " "))
    assert first == sign_in.FirstPassword("otto", "Otto")
    signed = sign_in.accept_invite(desk, "otto", secret, OTHER)
    assert sessions.check(desk, signed.token).actor.role == "operator"
    with pytest.raises(Refused, match="used or expired"):
        sign_in.accept_invite(desk, "otto", secret, GOOD)
    with pytest.raises(Refused, match="wrong"):
        sign_in.sign_in(desk, "otto", secret)
    clock.forward(seconds=9)
    assert isinstance(sign_in.sign_in(desk, "otto", OTHER), sign_in.SignedIn)
    assert secret not in everything_kept(desk)


def test_a_weak_first_password_leaves_the_secret_good(desk):
    boss = actor_of(member(desk, "boss"))
    _otto, secret = accounts.create(desk, boss, "otto", "Otto", "operator")
    with pytest.raises(Invalid):
        sign_in.accept_invite(desk, "otto", secret, "short")
    assert sign_in.accept_invite(desk, "otto", secret, OTHER).token


def test_a_one_time_secret_expires(desk, clock):
    boss = actor_of(member(desk, "boss"))
    otto, secret = accounts.create(desk, boss, "otto", "Otto", "operator")
    clock.forward(hours=72)
    assert otto.state(desk.now()) == "expired"
    with pytest.raises(Refused, match="wrong"):
        sign_in.sign_in(desk, "otto", secret)
    with pytest.raises(Refused, match="expired"):
        sign_in.accept_invite(desk, "otto", secret, OTHER)


def test_two_browsers_with_one_secret_make_one_password(ctx):
    boss = actor_of(member(ctx, "boss"))
    _otto, secret = accounts.create(ctx, boss, "otto", "Otto", "operator")
    results = both(
        lambda: sign_in.accept_invite(ctx, "otto", secret, OTHER),
        lambda: sign_in.accept_invite(ctx, "otto", secret, GOOD),
    )
    assert sum(isinstance(result, sign_in.SignedIn) for result in results) == 1
    assert sum(isinstance(result, Refused) for result in results) == 1


def test_foreign_and_forged_tokens_are_nobody(desk):
    member(desk, "ada")
    token = token_of(desk, "ada")
    for wrong in (
        "",
        "x",
        token[:-1],
        token + "x",
        sessions.token_hash(token),
        "é" * 500,
        "\udc80",
    ):
        assert sessions.check(desk, wrong) is None


def test_a_session_ends_after_a_working_day(desk, clock):
    member(desk, "ada")
    token = token_of(desk, "ada")
    clock.forward(hours=11, minutes=59)
    assert sessions.check(desk, token) is not None
    clock.forward(minutes=1)
    assert sessions.check(desk, token) is None


def test_signing_out_ends_the_token_for_every_tab_and_leaves_other_browsers(desk):
    member(desk, "ada")
    here, elsewhere = token_of(desk, "ada"), token_of(desk, "ada")
    sessions.end(desk, here)
    assert sessions.check(desk, here) is None
    assert sessions.check(desk, elsewhere) is not None
    sessions.end(desk, here)
    assert len(log_of(desk, "session.sign_out")) == 1


@pytest.mark.parametrize("change", ["disable", "role", "reset", "password"])
def test_every_change_of_an_account_ends_its_sign_ins_at_once(desk, change):
    boss = actor_of(member(desk, "boss"))
    otto = member(desk, "otto", "operator")
    token = token_of(desk, "otto")
    if change == "disable":
        accounts.disable(desk, boss, otto.id, otto.version)
    elif change == "role":
        accounts.set_role(desk, boss, otto.id, "manager", otto.version)
    elif change == "reset":
        accounts.reset(desk, boss, otto.id, otto.version)
    else:
        sign_in.change_password(desk, actor_of(otto), GOOD, OTHER)
    assert sessions.check(desk, token) is None


def test_a_session_older_than_valid_after_is_nobody_even_when_its_row_was_not_revoked(desk, clock):
    ada = member(desk, "ada")
    token = token_of(desk, "ada")
    with write(desk.control) as connection:
        connection.execute(
            update(accounts_table)
            .where(accounts_table.c.id == ada.id)
            .values(valid_after=clock.forward(seconds=1))
        )
    assert sessions.check(desk, token) is None


def test_last_seen_is_written_at_most_once_a_minute_and_not_by_idle_tabs(desk, clock):
    member(desk, "ada")
    token = token_of(desk, "ada")

    def seen():
        with read(desk.control) as connection:
            return connection.scalar(select(auth_sessions.c.last_seen_at))

    start = seen()
    clock.forward(seconds=59)
    sessions.check(desk, token)
    assert seen() == start
    clock.forward(seconds=1)
    sessions.check(desk, token, touch=False)
    assert seen() == start
    sessions.check(desk, token)
    assert seen() == clock.now


def test_a_control_database_that_can_only_be_read_still_lets_people_look(desk, clock, request):
    member(desk, "ada")
    token = token_of(desk, "ada")
    clock.forward(minutes=5)
    desk.control.dispose()
    request.addfinalizer(desk.control.dispose)

    @event.listens_for(desk.control, "connect")
    def _read_only(connection, _record):
        connection.execute("PRAGMA query_only=ON")

    assert sessions.check(desk, token) is not None


def test_changing_ones_password_keeps_this_browser_and_ends_the_others(desk):
    ada = member(desk, "ada")
    elsewhere = token_of(desk, "ada")
    with pytest.raises(Refused, match="current password is wrong"):
        sign_in.change_password(desk, actor_of(ada), OTHER, OTHER)
    assert sessions.check(desk, elsewhere) is not None
    signed = sign_in.change_password(desk, actor_of(ada), GOOD, OTHER)
    assert sessions.check(desk, signed.token) is not None
    assert sessions.check(desk, elsewhere) is None
    assert token_of(desk, "ada", OTHER)
