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
import json
import logging
import time
from dataclasses import asdict
from typing import Any

from services.core import jobs
from services.core.access import Actor, Permission, command_line_actor, require
from services.core.context import Context, open_context, utc_now
from services.core.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_USAGE,
    describe,
    exit_code,
)
from services.core.settings import load_settings
from services.protection import catalog, checkup, countersign
from services.protection.checkup import Finding, State
from services.protection.countersign import Countersigned
from services.protection.model import PROTECTION_LOCK, SnapshotRow
from services.protection.stores import open_store

Answer = dict[str, Any]

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
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as stop:
        return EXIT_USAGE if stop.code else EXIT_DONE
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    begun = time.monotonic()
    answer: Answer = {"command": options.command}
    try:
        code: int = options.run(options, answer)
    except (Exception, KeyboardInterrupt) as error:
        message, hint, error_id = describe(error)
        answer |= {"state": "failed", "error": message, "hint": hint, "error_id": error_id}
        print(f"{message} {hint}".strip(), file=sys.stderr)
        code = exit_code(error)
    if options.json:
        answer |= {"seconds": round(time.monotonic() - begun, 3), "exit_code": code}
        print(json.dumps(answer, sort_keys=True), flush=True)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python services/doctor.py",
        description="Check this installation, make its keys, sign its manifests.",
        epilog="Exit codes: 0 done, 1 failed, 2 network, 3 configuration or usage, 4 bug.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add(commands, "check", "does everything work that backups and restores need?", _check)
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
    signing = _add(commands, "sign", "sign manifests that were made without a key", _sign)
    which = signing.add_mutually_exclusive_group(required=True)
    which.add_argument("snapshots", nargs="*", default=[], metavar="ID", help="an id, or latest")
    which.add_argument("--all", action="store_true", help="every snapshot of this desk's list")
    bucket = _add(commands, "bucket", "how the bucket is kept, and what would change", _bucket)
    bucket.add_argument("--apply", action="store_true", help="change it, then read it back")
    return parser


def _add(commands: Any, name: str, words: str, run: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words)
    command.add_argument("--json", action="store_true", help="one JSON object as the last line")
    command.set_defaults(run=run)
    return command


def _check(options: argparse.Namespace, answer: Answer) -> int:
    ctx = open_context(patient=True)
    try:
        findings = check(ctx, command_line_actor())
    finally:
        ctx.close()
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
    from services.protection.keymaking import make_keys

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


def _sign(options: argparse.Namespace, answer: Answer) -> int:
    ctx = open_context(patient=True)
    try:
        done = sign(ctx, command_line_actor(), tuple(options.snapshots))
    finally:
        ctx.close()
    answer |= {"state": "failed" if done.refused else "succeeded", **asdict(done)}
    for snapshot_id, why in done.refused.items():
        print(f"{snapshot_id}: {why}", file=sys.stderr)
    if not options.json:
        print(f"Signed {len(done.signed)}; {len(done.already)} were signed already.")
    return EXIT_FAILED if done.refused else EXIT_DONE


def _bucket(options: argparse.Namespace, answer: Answer) -> int:
    from services.protection import bucket, bucket_terminal

    ctx = open_context(patient=True)
    try:
        found = bucket.plan(ctx)
        if options.apply:
            found = bucket.prepare(ctx, command_line_actor(), found)
    finally:
        ctx.close()
    answer |= {"state": bucket_terminal.state(found), **bucket.as_details(found)}
    if not options.json:
        print(bucket_terminal.text(found))
    return bucket_terminal.code(found)


if __name__ == "__main__":
    sys.exit(main())
