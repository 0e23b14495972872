"""Accounts and roles: who may change whom, the last administrator, the first start."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from services.core import audit
from services.core.access import ROLES, Actor, ActorKind, command_line_actor
from services.core.errors import Conflict, Denied, Invalid, Misconfigured, Refused
from services.core.loading import load_settings
from services.people import accounts, roles, setup, sign_in, throttle
from services.people.model import Account, actor_of
from services.people.throttle import TooManyAttempts
from tests.services.people import GOOD, OTHER, both, everything_kept, log_of, member

pytestmark = pytest.mark.usefixtures("cheap_bcrypt")


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
    assert not (ctx.settings.instance_dir / "setup-code").exists()


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
