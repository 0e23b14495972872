"""Start the desk: `python -m services.desk --port 8501`, which is what `make run` runs.

Checks the settings, puts this installation in order (tables, secrets, a restore that was
killed, a sample shop where there is no shop), says where the desk is, and becomes the web
server.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python puts services/ first on the path, ahead of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import errno
import hashlib
import hmac
import logging
import os
import runpy
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from services.core import jobs, logs
from services.core.access import system_actor
from services.core.context import Context, open_context
from services.core.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_USAGE,
    DeskError,
    Misconfigured,
    describe,
    exit_code,
)
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT, Settings, mask_url
from services.people import accounts, setup
from services.protection import remains
from services.protection.model import PROTECTION_LOCK
from services.protection.rescue import journal
from services.protection.sealing.keys import keys_of
from services.shop.attach import ShopState, attach, migration_waits, status
from services.shop.sample_state import Stage, is_sample, load_marker, marker_path

BEFORE_MIGRATION = "before a migration"
"""Reason of the backup that a migration of the shop's database waits for."""
DEFAULT_PORT = 8501
DEFAULT_ADDRESS = "127.0.0.1"
_OLD = timedelta(days=1)
_FEW_CHARACTERS = 8  # different ones: a random code of 12 has more

log = logging.getLogger("desk")


def prepare(ctx: Context) -> None:
    """Put this installation in order before anybody looks at it.

    Raises:
        DeskError: something that would stop the desk from working; a shop that is missing
            or damaged is not among it, for that is when the desk is needed.
    """
    refuse_weak_secrets(ctx.settings)
    keys_of(ctx.settings)
    setup.secret_key(ctx)
    jobs.reap(ctx)
    recovered = _recover(ctx)
    _settle_sample(ctx)
    try:
        bring_up_to_date(ctx, _say)
        _finish_release(ctx)
    except DeskError as error:
        _say(f"The shop is not attached. {error}")
    remains.clear(ctx)
    if recovered:
        sweep(ctx)


def bring_up_to_date(ctx: Context, say: Callable[[str], None]) -> None:
    """Attach the shop; tables of an older desk are migrated after a backup, or not at all.

    Raises:
        DeskError: the shop can't be attached, or could not be backed up before; its tables
            are as they were.
    """
    if migration_waits(ctx):
        from services import backup  # only now: the usual start does without its imports

        say("The knowledge base's tables are an older desk's: making a backup, then migrating.")
        backup.run(ctx, system_actor("migration"), reason=BEFORE_MIGRATION)
    attach(ctx)


def refuse_weak_secrets(settings: Settings) -> None:
    """In production, stop when a secret could be guessed.

    Raises:
        Misconfigured: names the variable, never what it holds.
    """
    if settings.app_env != "production":
        return
    for name, secret in (
        ("DESK_SECRET_KEY", settings.desk_secret_key),
        ("DESK_SETUP_CODE", settings.desk_setup_code),
        ("BACKUP_SIGNING_KEY", settings.backup_signing_key),
    ):
        plain = secret.get_secret_value().lower() if secret else ""
        if plain and (len(set(plain)) < _FEW_CHARACTERS or "change" in plain):
            raise Misconfigured(
                f"{name} is too easy to guess for production. Nothing was started.",
                "Use the output of `openssl rand -hex 32`, or leave it out: the desk makes one.",
            )


def sweep(ctx: Context) -> list[str]:
    """Remove what killed work left in the desk's own scratch folder over a day ago.

    A folder that `BACKUP_TEMP_DIR` names may hold other people's files: it is left alone.

    Returns:
        The names that were removed.
    """
    folder = ctx.settings.temp_dir
    if ctx.settings.backup_temp_dir is not None or not folder.is_dir():
        return []
    if jobs.active(ctx, PROTECTION_LOCK) is not None:
        return []
    swept = []
    for path in sorted(folder.iterdir()):
        newest = max(p.lstat().st_mtime for p in (path, *path.rglob("*")))
        if ctx.now() - datetime.fromtimestamp(newest, UTC) < _OLD:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        swept.append(path.name)
    return swept


def greeting(ctx: Context, address: str, port: int) -> str:
    """What the console says: what the desk looks at, where it is, how to get in."""
    found = status(ctx)
    shop = mask_url(found.where)
    if is_sample(ctx):
        command = f"{_short(Path(sys.executable))} {_short(PROJECT_ROOT / 'services/sample.py')}"
        shop = f"sample data, which `{command} remove` takes away"
    elif found.state is not ShopState.READY:
        shop = f"not attached: {found.message} {found.hint}".strip()
    lines = [
        "InsightShop Admin",
        f"  Shop        {shop}",
        f"  Backups     {mask_url(ctx.settings.store_url)}",
        f"  Address     {_url(address, port)}",
    ]
    if accounts.first_start(ctx):
        lines.append(f"  Setup code  {setup.setup_code(ctx)}")
        lines.append("  No account exists yet: open the address and enter the code once.")
    return "\n".join(lines)


def require_free(address: str, port: int) -> None:
    """Stop when the port can't be listened on.

    Raises:
        Misconfigured: says why, and what to do instead.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Misconfigured(
                f"Port {port} is in use by another program, perhaps by a desk that runs already. "
                "Nothing was started.",
                f"Open {_url(address, port)} to see, or start on another port: "
                f"make run PORT={port + 1}",
            ) from error
        raise Misconfigured(
            f"The desk can't listen on {address}, port {port} ({error.strerror}). "
            "Nothing was started.",
            "Choose another --address or --port.",
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Start the desk and serve it until it is stopped. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.desk", description=__doc__)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument(
        "--address",
        default=DEFAULT_ADDRESS,
        help="where to listen; the default serves this machine alone, put a proxy before it",
    )
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return EXIT_USAGE if stop.code else EXIT_DONE
    try:
        settings = load_settings()
        logs.configure(settings.log_level)
        require_free(options.address, options.port)
        ctx = open_context(settings)
        prepare(ctx)
        _say(greeting(ctx, options.address, options.port))
        key = setup.secret_key(ctx)
        ctx.close()
    except KeyboardInterrupt:
        return EXIT_FAILED
    except Exception as error:  # the last one who can say it in words
        message, hint, _error_id = describe(error)
        print(f"{message}\n{hint}".strip(), file=sys.stderr)
        return exit_code(error)
    return _become_server(options.address, options.port, key)


def _become_server(address: str, port: int, key: str) -> int:
    # A key of its own, derived: Streamlit's cookies and the desk's are never interchangeable.
    cookie = hmac.new(key.encode(), b"streamlit cookies", hashlib.sha256).hexdigest()
    os.environ["STREAMLIT_SERVER_COOKIE_SECRET"] = cookie
    os.chdir(PROJECT_ROOT)  # .streamlit/config.toml is read from there
    options = ["--server.address", address, "--server.port", str(port)]
    # In this very process: what is imported already need not be imported twice. Ctrl-C is
    # the usual end of a desk and no failure.
    signal.signal(signal.SIGINT, lambda _number, _frame: sys.exit(EXIT_DONE))
    sys.path.insert(0, str(PROJECT_ROOT))
    sys.argv = ["streamlit", "run", "server.py", *options]
    runpy.run_module("streamlit", run_name="__main__", alter_sys=True)
    return EXIT_DONE


def _recover(ctx: Context) -> bool:
    """Finish or take back restores that were killed; False when one needs a person."""
    try:
        if next(journal.pending(ctx), None) is None:
            return True
        from services import restore  # only now: the usual start does without its imports

        recoveries = restore.recover(ctx)
    except Exception as error:  # the desk opens all the same: that is when it is needed
        message, hint, _error_id = describe(error)
        _say(f"A restore that was interrupted could not be put in order. {message} {hint}")
        return False
    for recovery in recoveries:
        _say(f"{recovery.message} {recovery.hint}".strip())
    return all(recovery.side for recovery in recoveries)


def _finish_release(ctx: Context) -> None:
    """Write for the shop what was made current just before a desk was killed."""
    if ctx.settings.publish_dir is None:
        return
    from services.knowledge.releasing import activating  # only now: most desks have no folder

    written = activating.finish(ctx)
    if written is not None and written.problem:
        _say(f"Release {written.release} is not in the shop's folder yet. {written.problem}")


def _settle_sample(ctx: Context) -> None:
    """Build the sample shop where there is no shop, and finish what a kill left half done."""
    try:
        marker = load_marker(marker_path(ctx.settings))
        unfinished = marker is not None and marker.stage is not Stage.READY
        if not unfinished and status(ctx).state is not ShopState.MISSING:
            return
        from services import sample  # only now: the usual start does without its imports

        sample.finish_removal(ctx)
        if not sample.wanted(ctx):
            return
    except DeskError as error:
        _say(str(error))
        return
    _say("There is no shop here: building a sample shop to look at.")
    # In a process of its own, so that what drawing and vectors need does not stay in the
    # server's memory for months. It says itself what goes wrong.
    subprocess.run(
        [sys.executable, "-m", "services.sample", "build"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **ctx.settings.as_environment()},
        check=False,
    )


def _url(address: str, port: int) -> str:
    host = "localhost" if address in ("", "0.0.0.0", "::") else address  # noqa: S104 - compared
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
