"""`python -m services.people.accounts ...`: accounts without a browser, and the way back in."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from services.core.access import ROLES, Actor, command_line_actor
from services.core.context import Context, open_context
from services.core.errors import EXIT_DONE, EXIT_USAGE, DeskError, Invalid, describe, exit_code
from services.people import accounts, passwords
from services.people.model import Account


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line; the process's own by default.

    Returns:
        The exit code: 0 done, 1 refused or failed, 3 configuration or usage, 4 bug.
    """
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as stop:
        return EXIT_USAGE if stop.code else EXIT_DONE
    try:
        ctx = open_context()
        try:
            _run(ctx, command_line_actor(), options)
        finally:
            ctx.close()
    except (DeskError, SQLAlchemyError, OSError) as error:
        message, hint, _error_id = describe(error)
        print(f"{message} {hint}".strip(), file=sys.stderr)
        return exit_code(error)
    return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.people.accounts",
        description="Accounts of the desk. Everything done here is audited as command line.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    make = commands.add_parser("create", help="make an account and print its one-time secret")
    make.add_argument("username")
    make.add_argument("--name", default="", help="what others see; the user name by default")
    make.add_argument("--role", choices=sorted(ROLES), default="admin", help="admin by default")
    _password_option(make)
    commands.add_parser("list", help="every account with its role and state")
    again = commands.add_parser(
        "reset", help="take the password away and print a new one-time secret"
    )
    again.add_argument("username")
    _password_option(again)
    for verb, text in (("enable", "let it sign in again"), ("disable", "shut it at once")):
        commands.add_parser(verb, help=text).add_argument("username")
    role = commands.add_parser("role", help="give an account another role")
    role.add_argument("username")
    role.add_argument("role", choices=sorted(ROLES))
    return parser


def _password_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ask-password",
        action="store_true",
        help="set the password now (asked for, or one line of standard input) "
        "instead of printing a one-time secret",
    )


def _run(ctx: Context, actor: Actor, options: argparse.Namespace) -> None:
    if options.command == "list":
        _list(ctx, actor)
        return
    if options.command == "create":
        password = _ask(options, options.username)
        name = options.name or options.username
        _opened(
            *accounts.create(ctx, actor, options.username, name, options.role, password=password)
        )
        return
    account = accounts.find(ctx, actor, options.username)
    if options.command == "reset":
        password = _ask(options, account.username)
        _opened(*accounts.reset(ctx, actor, account.id, account.version, password=password))
    elif options.command == "role":
        accounts.set_role(ctx, actor, account.id, options.role, account.version)
        _say(f"{account.username} is {options.role} now; their sign-ins ended.")
    else:
        change = accounts.enable if options.command == "enable" else accounts.disable
        change(ctx, actor, account.id, account.version)
        _say(f"{account.username} is {options.command}d.")


def _list(ctx: Context, actor: Actor) -> None:
    rows = [("USER NAME", "NAME", "ROLE", "STATE", "LAST SIGN-IN (UTC)")]
    for account in accounts.list_accounts(ctx, actor):
        last = account.last_sign_in_at
        rows.append(
            (
                account.username,
                account.display_name,
                account.role,
                account.state(ctx.now()),
                f"{last:%Y-%m-%d %H:%M}" if last else "never",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        _say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _opened(account: Account, secret: str) -> None:
    if not secret:
        _say(f"{account.username} ({account.role}) can sign in with the password given.")
        return
    _say(f"One-time secret for {account.username} ({account.role}): {secret}")
    hours = int(accounts.SECRET_LIFETIME.total_seconds() // 3600)
    _say(f"It works once, within {hours} hours, in the password field of the sign-in form.")


def _ask(options: argparse.Namespace, username: str) -> str | None:
    if not options.ask_password:
        return None
    if sys.stdin.isatty():
        password = getpass.getpass(f"Password for {username}: ")
        if getpass.getpass("The same again: ") != password:
            raise Invalid("The two passwords differ; nothing was changed.")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    passwords.check_new(password, username)
    return password


def _say(text: str) -> None:
    print(text)
