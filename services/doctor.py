"""Door: look after this installation: check it, make its keys, sign its manifests.

`python services/doctor.py check | keys | sign` (docs/keys.md) `| bucket` (docs/storage.md).
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python puts services/ first on the path, ahead of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
from dataclasses import asdict
from typing import Any

from services.core import jobs, terminal
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context, utc_now
from services.core.errors import (
    EXIT_DONE,
    EXIT_FAILED,
)
from services.core.loading import load_settings
from services.core.terminal import Answer
from services.protection import checkup
from services.protection.checkup import Finding, State
from services.protection.index import catalog
from services.protection.model import PROTECTION_LOCK, SnapshotRow
from services.protection.sealing import countersign
from services.protection.sealing.countersign import Countersigned
from services.protection.stores import open_store

_MARKS = {State.OK: "ok     ", State.WARNING: "warning", State.FAILED: "FAILED "}


def check(ctx: Context, actor: Actor) -> tuple[Finding, ...]:
    """Look whether everything that backups and restores need works here.

    Raises:
        Denied: without `store.manage`.
    """
    require(actor, Permission.STORE_MANAGE)
    return checkup.check(ctx)


def sign(ctx: Context, actor: Actor, snapshot_ids: tuple[str, ...] = ()) -> Countersigned:
    """Sign manifests with the first signing key, if they are what this desk indexed.

    Args:
        snapshot_ids: which; every snapshot of the list when empty.

    Raises:
        Denied: without `store.manage`.
        Invalid: there is no such snapshot; nothing was signed.
        Busy: a backup or restore is running; names it.
        Misconfigured, Transient: no key, or the store can't be used.
    """
    require(actor, Permission.STORE_MANAGE)
    store = open_store(ctx.settings)
    catalog.refresh(ctx, store)
    rows = tuple(catalog.find(ctx, each) for each in snapshot_ids) or _everything(ctx)
    job = jobs.create(ctx, actor, "sign", lock=PROTECTION_LOCK)
    found: list[Countersigned] = []

    def work(handle: jobs.JobHandle) -> dict[str, Any]:
        handle.step("Signing manifests", 0.0)
        found.append(countersign.sign(ctx, store, handle, actor, rows))
        return asdict(found[0])

    jobs.run(ctx, job, work)
    return found[0]


def _everything(ctx: Context) -> tuple[SnapshotRow, ...]:
    rows: list[SnapshotRow] = []
    while len(rows) < (listed := catalog.page(ctx, page=len(rows) // 1000 + 1, rows=1000)).total:
        rows += listed.rows
    return tuple(rows)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return terminal.main(_parser(), arguments, _command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python services/doctor.py",
        description="Check this installation, make its keys, sign its manifests.",
        epilog=terminal.CODES,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add(
        commands,
        "check",
        "does everything work that backups and restores need?",
        terminal.on_a_desk(_check),
    )
    keys = _add(commands, "keys", "make a key pair and a recovery sheet to print", _keys)
    keys.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder for the files; instance/keys by default. Nothing there is replaced",
    )
    keys.add_argument(
        "--recovery",
        action="store_true",
        help="a second pair for the safe; the sheet then carries that one",
    )
    signing = _add(
        commands, "sign", "sign manifests that were made without a key", terminal.on_a_desk(_sign)
    )
    which = signing.add_mutually_exclusive_group(required=True)
    which.add_argument("snapshots", nargs="*", default=[], metavar="ID", help="an id, or latest")
    which.add_argument("--all", action="store_true", help="every snapshot of this desk's list")
    bucket = _add(
        commands,
        "bucket",
        "how the bucket is kept, and what would change",
        terminal.on_a_desk(_bucket),
    )
    bucket.add_argument("--apply", action="store_true", help="change it, then read it back")
    return parser


def _add(commands: Any, name: str, words: str, run: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words)
    terminal.add_json(command)
    command.set_defaults(run=run)
    return command


def _command(options: argparse.Namespace, answer: Answer) -> int | None:
    answer["command"] = options.command
    done: int | None = options.run(options, answer)
    return done


def _check(ctx: Context, options: argparse.Namespace, answer: Answer) -> int:
    findings = check(ctx, command_line_actor())
    code = checkup.worst(findings)
    answer |= {
        "state": "failed" if code else "succeeded",
        "findings": [
            {"name": each.name, "state": each.state.value, "said": each.said, "hint": each.hint}
            for each in findings
        ],
    }
    if not options.json:
        for each in findings:
            print(f"{_MARKS[each.state]}  {each.name}: {each.said}")
            if each.hint:
                print(f"         {each.hint}")
    return code


def _keys(options: argparse.Namespace, answer: Answer) -> int:
    from services.protection.sealing.keymaking import make_keys

    settings = load_settings()
    folder = options.out or settings.instance_dir / "keys"
    made = make_keys(settings, folder.absolute(), utc_now(), recovery=options.recovery)
    files = [made.operator.file, *([made.recovery.file] if made.recovery else []), made.sheet]
    answer |= {
        "state": "succeeded",
        "recipients": made.recipients,
        "files": [str(file) for file in files],
    }
    if not options.json:
        print(f"Made {', '.join(file.name for file in files)} in {folder}.\n")
        print("On every machine that makes backups:")
        print(f"  BACKUP_AGE_RECIPIENTS={made.recipients}")
        print("Where one restores, and only there:")
        print(f"  BACKUP_AGE_IDENTITY_FILE={made.operator.file}\n")
        print(
            f"Print {made.sheet} and put it away, then delete it"
            + (f" and {made.recovery.file}." if made.recovery else ".")
        )
    return EXIT_DONE


def _sign(ctx: Context, options: argparse.Namespace, answer: Answer) -> int:
    done = sign(ctx, command_line_actor(), tuple(options.snapshots))
    answer |= {"state": "failed" if done.refused else "succeeded", **asdict(done)}
    for snapshot_id, why in done.refused.items():
        print(f"{snapshot_id}: {why}", file=sys.stderr)
    if not options.json:
        print(f"Signed {len(done.signed)}; {len(done.already)} were signed already.")
    return EXIT_FAILED if done.refused else EXIT_DONE


def _bucket(ctx: Context, options: argparse.Namespace, answer: Answer) -> int:
    from services.protection.bucket import plan as bucket
    from services.protection.bucket import terminal as bucket_terminal

    found = bucket.plan(ctx)
    if options.apply:
        found = bucket.prepare(ctx, command_line_actor(), found)
    answer |= {"state": bucket_terminal.state(found), **bucket.as_details(found)}
    if not options.json:
        print(bucket_terminal.text(found))
    return bucket_terminal.code(found)


if __name__ == "__main__":
    sys.exit(main())
