"""Accounts without a browser: the way back in."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys

import pytest

from services.core import audit
from services.core.access import command_line_actor
from services.core.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE
from services.core.settings import PROJECT_ROOT
from services.people import accounts, passwords, sign_in
from services.people.command_line import main

OWNER = command_line_actor("root")
GOOD = "seven odd ducks swim"


@pytest.fixture(autouse=True)
def _this_desk(ctx, monkeypatch):
    """The commands find the test's desk, as they would through the environment."""
    monkeypatch.setattr(passwords, "COST", 4)
    for name, value in ctx.settings.as_environment().items():
        monkeypatch.setenv(name, value)


def test_create_prints_a_one_time_secret_that_opens_the_account(ctx, capsys):
    assert main(["create", "ada", "--name", "Ada Novak"]) == EXIT_DONE
    secret = re.search(r": (\S{23})$", capsys.readouterr().out, re.MULTILINE).group(1)
    assert sign_in.sign_in(ctx, "ada", secret) == sign_in.FirstPassword("ada", "Ada Novak")
    assert accounts.find(ctx, OWNER, "ada").role == "admin"


def test_a_password_on_standard_input_opens_the_account_at_once(ctx, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(GOOD + "\n"))
    assert main(["create", "ada", "--ask-password"]) == EXIT_DONE
    assert isinstance(sign_in.sign_in(ctx, "ada", GOOD), sign_in.SignedIn)
    assert GOOD not in capsys.readouterr().out


def test_a_weak_password_creates_nothing(ctx, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    assert main(["create", "ada", "--ask-password"]) == EXIT_FAILED
    assert "at least 12 characters" in capsys.readouterr().err
    assert accounts.first_start(ctx)


def test_reset_and_enable_let_a_locked_out_administrator_back_in(ctx, capsys):
    main(["create", "ada"])
    main(["create", "eve"])
    main(["disable", "eve"])
    capsys.readouterr()
    assert main(["enable", "eve"]) == EXIT_DONE
    assert main(["reset", "eve"]) == EXIT_DONE
    secret = re.search(r": (\S{23})$", capsys.readouterr().out, re.MULTILINE).group(1)
    assert isinstance(sign_in.sign_in(ctx, "eve", secret), sign_in.FirstPassword)


def test_list_shows_everybody_and_no_secret(ctx, capsys):
    main(["create", "ada", "--name", "Ada Novak"])
    secret = re.search(r": (\S{23})$", capsys.readouterr().out, re.MULTILINE).group(1)
    main(["list"])
    shown = capsys.readouterr().out
    assert re.search(r"ada +Ada Novak +admin +invited +never", shown)
    assert secret not in shown


def test_what_is_done_here_is_audited_as_command_line(ctx):
    main(["create", "ada"])
    main(["role", "ada", "manager"])
    main(["create", "eve"])
    main(["role", "ada", "editor"])
    events = audit.events(ctx, OWNER, audit.AuditFilter()).events
    assert {event.actor_kind for event in events} == {"command line"}
    assert [event.action for event in events].count("account.create") == 2


def test_the_last_administrator_guard_holds_here_too(ctx, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(GOOD + "\n"))
    main(["create", "ada", "--ask-password"])
    assert main(["disable", "ada"]) == EXIT_FAILED
    assert main(["role", "ada", "editor"]) == EXIT_FAILED
    assert "last administrator" in capsys.readouterr().err


def test_an_unknown_name_is_said_without_a_traceback(capsys):
    assert main(["reset", "nobody"]) == EXIT_FAILED
    assert capsys.readouterr().err == "There is no account named 'nobody'; nothing was changed.\n"


def test_wrong_usage_and_wrong_settings_have_their_exit_code(monkeypatch):
    assert main(["create"]) == EXIT_USAGE
    monkeypatch.setenv("APP_ENV", "prod")
    assert main(["list"]) == EXIT_USAGE


def test_the_module_runs_from_the_command_line(ctx):
    done = subprocess.run(
        [sys.executable, "-m", "services.people.accounts", "create", "ada"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **ctx.settings.as_environment()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "One-time secret for ada (admin): " in done.stdout
