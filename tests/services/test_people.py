"""Accounts, passwords and sign-in: who gets in, who does not, and what is kept of it."""

from __future__ import annotations

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import event, select, update

from db.control import accounts as accounts_table
from db.control import audit_log, auth_sessions
from db.engine import read, write
from services.core import audit
from services.core.access import ROLES, Actor, ActorKind, command_line_actor
from services.core.context import Context
from services.core.errors import Conflict, Denied, Invalid, Misconfigured, Refused
from services.core.settings import load_settings
from services.people import accounts, passwords, roles, sessions, setup, sign_in, throttle
from services.people.model import Account, actor_of
from services.people.throttle import TooManyAttempts

GOOD = "seven odd ducks swim"
OTHER = "green paper boats"


@pytest.fixture(autouse=True)
def _cheap_bcrypt(monkeypatch):
    monkeypatch.setattr(passwords, "COST", 4)


@pytest.fixture
def desk(ctx, clock) -> Context:
    """A desk whose clock the test moves."""
    return replace(ctx, clock=clock)


def member(desk: Context, username: str, role: str = "admin", password: str = GOOD) -> Account:
    """An account that can sign in."""
    account, _none = accounts.create(
        desk, command_line_actor("root"), username, username.title(), role, password=password
    )
    return account


def log_of(desk: Context, *actions: str) -> list[audit.AuditEvent]:
    owner = command_line_actor("root")
    return list(audit.events(desk, owner, audit.AuditFilter(actions=actions)).events)


def everything_kept(desk: Context) -> str:
    """All text in the control database's people and audit tables."""
    with read(desk.control) as connection:
        tables = (accounts_table, audit_log, auth_sessions, throttle.sign_in_attempts)
        return "\n".join(str(row) for table in tables for row in connection.execute(select(table)))


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
    for name, password in (("nobody", GOOD), ("boss", OTHER), ("shut", GOOD), ("", "x")):
        with pytest.raises(Refused) as refused:
            sign_in.sign_in(desk, name, password)
        answers.add((refused.value.message, refused.value.hint))
    assert len(answers) == 1
    # One bcrypt comparison of the same cost each: the time is the same too.
    assert compared == [b"$2b$04$"] * 4


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


# --- sessions --------------------------------------------------------------------------


def token_of(desk: Context, username: str, password: str = GOOD) -> str:
    signed = sign_in.sign_in(desk, username, password)
    assert isinstance(signed, sign_in.SignedIn)
    return signed.token


def test_foreign_and_forged_tokens_are_nobody(desk):
    member(desk, "ada")
    token = token_of(desk, "ada")
    for wrong in ("", "x", token[:-1], token + "x", sessions.token_hash(token), "é" * 500):
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


# --- administration --------------------------------------------------------------------


def test_only_who_manages_accounts_may_touch_them(desk, editor, operator, manager, nobody):
    otto = member(desk, "otto", "operator")
    calls = [
        lambda who: accounts.list_accounts(desk, who),
        lambda who: accounts.find(desk, who, "otto"),
        lambda who: accounts.create(desk, who, "eve", "Eve", "manager"),
        lambda who: accounts.set_role(desk, who, otto.id, "admin", otto.version),
        lambda who: accounts.disable(desk, who, otto.id, otto.version),
        lambda who: accounts.enable(desk, who, otto.id, otto.version),
        lambda who: accounts.reset(desk, who, otto.id, otto.version),
    ]
    before = everything_kept(desk)
    for who in (editor, operator, manager, nobody):
        for call in calls:
            with pytest.raises(Denied):
                call(who)
    with pytest.raises(Denied):
        sign_in.change_password(desk, nobody, GOOD, OTHER)
    assert everything_kept(desk) == before


def test_nobody_grants_more_than_they_hold(desk):
    otto = member(desk, "otto", "operator")
    clerk = Actor(
        "clerk", "Clerk", ActorKind.ACCOUNT, frozenset({accounts.Permission.ACCOUNTS_MANAGE})
    )
    with pytest.raises(Denied, match="may more than they may"):
        accounts.create(desk, clerk, "eve", "Eve", "admin")
    with pytest.raises(Denied, match="may more than they may"):
        accounts.set_role(desk, clerk, otto.id, "admin", otto.version)


def test_nobody_changes_their_own_account(desk):
    ada = member(desk, "ada")
    member(desk, "boss")
    for change in (
        lambda: accounts.set_role(desk, actor_of(ada), ada.id, "manager", ada.version),
        lambda: accounts.disable(desk, actor_of(ada), ada.id, ada.version),
        lambda: accounts.reset(desk, actor_of(ada), ada.id, ada.version),
    ):
        with pytest.raises(Denied, match="own account"):
            change()
    assert accounts.find(desk, actor_of(ada), "ada") == ada


def test_only_the_owner_of_an_account_chooses_its_password(desk):
    boss = actor_of(member(desk, "boss"))
    with pytest.raises(Denied, match="Only the owner"):
        accounts.create(desk, boss, "eve", "Eve", "manager", password=GOOD)


@pytest.mark.parametrize("username", ["a", "-ada", "ada novak", "ada/..", "x" * 65, "a\nda", "ädä"])
def test_a_malformed_user_name_is_refused(desk, admin, username):
    with pytest.raises(Invalid, match="user name"):
        accounts.create(desk, admin, username, "Somebody", "manager")


def test_two_people_never_look_the_same(desk, admin):
    member(desk, "ada")
    with pytest.raises(Invalid, match="this user name"):
        accounts.create(desk, admin, "ADA", "Somebody", "manager")
    with pytest.raises(Invalid, match="this displayed name"):
        accounts.create(desk, admin, "ada2", " ada ", "manager")


def test_somebody_elses_change_in_between_is_a_conflict(desk):
    boss = actor_of(member(desk, "boss"))
    otto = member(desk, "otto", "operator")
    accounts.set_role(desk, boss, otto.id, "manager", otto.version)
    with pytest.raises(Conflict, match="Somebody else has changed otto"):
        accounts.disable(desk, boss, otto.id, otto.version)
    assert accounts.find(desk, boss, "otto").enabled


@pytest.mark.parametrize("path", ["disable", "demote", "reset"])
def test_the_last_administrator_can_not_be_lost(desk, admin, path):
    last = member(desk, "last")
    accounts.create(desk, admin, "maybe", "Maybe", "admin")  # invited, may never come
    gone = member(desk, "gone")
    accounts.disable(desk, admin, gone.id, gone.version)
    with pytest.raises(Conflict, match="last administrator"):
        if path == "disable":
            accounts.disable(desk, admin, last.id, last.version)
        elif path == "demote":
            accounts.set_role(desk, admin, last.id, "editor", last.version)
        else:
            accounts.reset(desk, admin, last.id, last.version)
    assert accounts.find(desk, admin, "last") == last


@pytest.mark.parametrize("path", ["disable", "demote", "reset"])
def test_two_administrators_who_shut_each_other_out_at_once_leave_one(ctx, path):
    pair = [member(ctx, "ada"), member(ctx, "eve")]

    def shut(actor: Account, target: Account):
        if path == "disable":
            return lambda: accounts.disable(ctx, actor_of(actor), target.id, target.version)
        if path == "demote":
            return lambda: accounts.set_role(
                ctx, actor_of(actor), target.id, "manager", target.version
            )
        return lambda: accounts.reset(ctx, actor_of(actor), target.id, target.version)

    results = both(shut(pair[0], pair[1]), shut(pair[1], pair[0]))
    assert sum(isinstance(result, Conflict) for result in results) == 1
    left = [
        account
        for account in accounts.list_accounts(ctx, command_line_actor("root"))
        if account.enabled and account.role == "admin" and account.has_password
    ]
    assert len(left) == 1


def test_every_change_is_audited_with_who_and_what(desk):
    boss = actor_of(member(desk, "boss"))
    otto, _secret = accounts.create(desk, boss, "otto", "Otto", "operator")
    otto = accounts.set_role(desk, boss, otto.id, "editor", otto.version)
    otto = accounts.disable(desk, boss, otto.id, otto.version)
    otto = accounts.enable(desk, boss, otto.id, otto.version)
    accounts.reset(desk, boss, otto.id, otto.version)
    told = [
        (event.action, event.actor_name, event.summary)
        for event in reversed(log_of(desk))
        if event.actor_name == "Boss"
    ]
    assert told == [
        ("account.create", "Boss", "Created otto as operator"),
        ("account.role", "Boss", "Changed the role of otto operator to editor"),
        ("account.disable", "Boss", "Disabled otto"),
        ("account.enable", "Boss", "Enabled otto"),
        ("account.reset", "Boss", "Reset otto (new one-time secret)"),
    ]


def test_a_change_that_can_not_be_audited_does_not_happen(desk, monkeypatch):
    boss = actor_of(member(desk, "boss"))
    otto = member(desk, "otto", "operator")

    def full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audit, "record", full_disk)
    with pytest.raises(OSError, match="No space"):
        accounts.disable(desk, boss, otto.id, otto.version)
    assert accounts.find(desk, boss, "otto").enabled


def test_a_reset_lifts_the_pause_that_somebody_elses_guesses_caused(desk, clock):
    boss = actor_of(member(desk, "boss"))
    otto = member(desk, "otto", "operator")
    for _ in range(throttle.NAME_LIMIT):
        clock.forward(seconds=9)
        with pytest.raises(Refused, match="wrong"):
            sign_in.sign_in(desk, "otto", OTHER)
    _account, secret = accounts.reset(desk, boss, otto.id, otto.version)
    assert isinstance(sign_in.sign_in(desk, "otto", secret), sign_in.FirstPassword)


def test_every_role_is_explained():
    assert set(roles.WORDS) == set(ROLES) == set(roles.ORDER)


# --- first start -----------------------------------------------------------------------


def test_the_setup_code_opens_the_desk_once_and_is_forgotten(desk):
    assert accounts.first_start(desk)
    code = setup.setup_code(desk)
    file = desk.settings.instance_dir / "setup-code"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert setup.setup_code(desk) == code
    typed = code.lower().replace("-", "")
    ada = accounts.create_first(desk, typed, "ada", "Ada", GOOD)
    assert (ada.role, ada.state(desk.now())) == ("admin", "active")
    assert not accounts.first_start(desk)
    assert not file.exists()
    with pytest.raises(Conflict, match="already"):
        accounts.create_first(desk, code, "eve", "Eve", GOOD)


def test_a_wrong_setup_code_creates_nothing_and_is_throttled(desk, clock):
    code = setup.setup_code(desk)
    for _ in range(throttle.NAME_LIMIT):
        clock.forward(seconds=9)
        with pytest.raises(Refused, match="not the setup code"):
            accounts.create_first(desk, "0000-0000-0000", "eve", "Eve", GOOD)
    clock.forward(seconds=9)
    with pytest.raises(TooManyAttempts):
        accounts.create_first(desk, code, "eve", "Eve", GOOD)
    assert accounts.first_start(desk)
    assert len(log_of(desk, "setup.failed")) == throttle.NAME_LIMIT
    clock.forward(minutes=15)
    assert accounts.create_first(desk, code, "ada", "Ada", GOOD).role == "admin"


def test_of_two_first_administrators_at_once_one_wins(ctx):
    code = setup.setup_code(ctx)
    results = both(
        lambda: accounts.create_first(ctx, code, "ada", "Ada", GOOD),
        lambda: accounts.create_first(ctx, code, "eve", "Eve", OTHER),
    )
    assert sum(isinstance(result, Account) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 1
    assert len(accounts.list_accounts(ctx, command_line_actor("root"))) == 1


def test_processes_that_start_at_once_agree_on_the_made_secrets(desk):
    with ThreadPoolExecutor(8) as pool:
        codes = set(pool.map(lambda _n: setup.setup_code(desk), range(16)))
        keys = set(pool.map(lambda _n: setup.secret_key(desk), range(16)))
    assert len(codes) == len(keys) == 1
    assert len(keys.pop()) >= 32
    assert [path.name for path in desk.settings.instance_dir.glob(".s*")] == []


def test_weak_secrets_from_the_environment_are_refused(ctx, tmp_path):
    def with_settings(**values):
        file = tmp_path / "none.env"
        return replace(ctx, settings=load_settings(env_file=file, desk_home=tmp_path, **values))

    with pytest.raises(Misconfigured, match="DESK_SECRET_KEY"):
        setup.secret_key(with_settings(desk_secret_key="short"))
    with pytest.raises(Misconfigured, match="DESK_SETUP_CODE"):
        setup.setup_code(with_settings(desk_setup_code="1234", app_env="production"))
    assert setup.setup_code(with_settings(desk_setup_code="1234")) == "1234"


def both(*calls):
    """Run calls at the same moment; gives what each returned or raised."""
    gate = threading.Barrier(len(calls))

    def run(call):
        gate.wait()
        try:
            return call()
        except Refused as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
