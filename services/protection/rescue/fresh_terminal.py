"""A recovery from the bucket on a terminal: which shop, what goes where, what was proven."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from services.core.access import Actor, Permission, require
from services.core.errors import Invalid, Misconfigured
from services.core.loading import load_settings
from services.core.settings import Settings, mask_url
from services.protection.index.catalog import LATEST
from services.protection.model import Part
from services.protection.rescue import terminal
from services.protection.rescue.fresh import Fresh, FreshOutcome, FreshPlan, bare_context
from services.protection.rescue.fresh_find import (
    StoredShop,
    stored_ids,
    stored_manifests,
    stored_shops,
)
from services.protection.rescue.fresh_parts import LEFT_OUT, Borrowed
from services.protection.rescue.space import megabytes
from services.protection.rescue.words import plural
from services.protection.stores import as_the_only_store, open_store
from services.protection.stores.places import COPY

_WIDTH = 24
_LISTED = 30


def run(options: argparse.Namespace, actor: Actor, borrowed: Borrowed) -> dict[str, Any]:
    """What `restore.py --from STORE [--fresh [ID]]` does; gives its answer for machines.

    Args:
        options: `source`, `fresh`, `instance`, `snapshot`, `yes`, `dry_run` and `json`.

    Raises:
        DeskError: what stands where now, the message says.
    """
    require(actor, Permission.RESTORE)
    settings = _settings(options.source)
    settings = _of_instance(settings, options.source, options.instance)
    if options.fresh is None:
        return _list(settings, quiet=options.json)
    store = open_store(settings)
    without = _left_out(options.without)
    command = command_of(settings.store_url, settings.instance_id, options.fresh, options.without)
    fresh = Fresh(settings, store, options.fresh, command, borrowed, without=without)
    plan = fresh.look()
    print(plan_text(plan), file=sys.stderr)
    said = {
        "snapshot": plan.manifest.id,
        "instance": settings.instance_id,
        "places": dict(fresh.parts.places()),
    }
    if options.dry_run:
        return said | {"state": "planned"}
    if not options.yes:
        _confirm(settings.instance_id)
    try:
        outcome = fresh.run(actor, _say)
    finally:
        terminal.watcher_end()
    steps = next_steps(settings, outcome, settings.store_url)
    print(outcome_text(outcome), steps_text(steps), sep="\n", file=sys.stderr)
    return said | {
        "state": "recovered",
        "seconds": round(outcome.total, 3),
        "steps": {name: round(took, 3) for name, took in outcome.seconds.items()},
        "proved": outcome.proved,
        "notes": outcome.notes,
        "next": steps,
    }


def _settings(source: str | None, **more: Any) -> Settings:
    if source is None:
        return load_settings(**more)
    if source == COPY:
        return as_the_only_store(load_settings(**more))
    if "://" not in source:
        # A folder as a person types it starts where they are, not at the desk's home.
        source = f"file:{Path(source.removeprefix('file:')).expanduser().absolute()}"
    return load_settings(backup_store_url=source, **more)


def _of_instance(settings: Settings, source: str | None, instance: str | None) -> Settings:
    if instance is None and "instance_id" not in settings.model_fields_set:
        store = open_store(settings)
        names = list(stored_ids(store))
        if len(names) == 1:
            instance = names[0]
        else:
            shops = stored_shops(
                lambda name: bare_context(settings.model_copy(update={"instance_id": name})), store
            )
            instance = choose(shops, settings.store_url)
    if instance is None:
        return settings
    return _settings(source, instance_id=instance)


def _list(settings: Settings, *, quiet: bool) -> dict[str, Any]:
    store = open_store(settings)
    ids = stored_ids(store).get(settings.instance_id, [])
    if not ids:
        raise Misconfigured(f"{store.url} holds no backup of {settings.instance_id!r}.")
    rows = stored_manifests(bare_context(settings), store, ids[:_LISTED])
    if not quiet:
        count = plural(len(ids), "backup", "backups")
        print(f"{count} of {settings.instance_id} in {store.url}, the newest first:")
        for snapshot_id, found in rows:
            if isinstance(found, str):
                print(f"{snapshot_id}  {found}")
                continue
            orders = found.tables["orders"].rows if "orders" in found.tables else 0
            print(
                f"{snapshot_id}  {found.created_at:%Y-%m-%d %H:%M:%S} UTC  "
                f"{megabytes(found.plain_bytes):>10}  {orders:>9,} orders  {found.reason}"
            )
    return {
        "instance": settings.instance_id,
        "snapshots": [
            {"id": snapshot_id, "error": found}
            if isinstance(found, str)
            else {
                "id": snapshot_id,
                "created_at": found.created_at.isoformat(),
                "reason": found.reason,
            }
            for snapshot_id, found in rows
        ],
    }


def _left_out(names: str) -> frozenset[Part]:
    may = sorted(part.value for part in LEFT_OUT.values())
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not set(wanted) <= set(may):
        raise Misconfigured(
            f"--without holds {names[:60]!r}; nothing was started.",
            f"It may hold: {', '.join(may)}.",
        )
    return frozenset(Part(name) for name in wanted)


def _confirm(word: str) -> None:
    if not sys.stdin.isatty():
        raise Invalid(
            "A recovery has to be confirmed; nothing was changed.",
            "Run it at a terminal, or add --yes.",
        )
    sys.stderr.write(f"Type {word} to recover: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != word:
        raise Invalid("What was typed is not the word that confirms; nothing was changed.")


def _say(text: str, fraction: float | None) -> None:
    if sys.stderr.isatty():
        terminal.watcher(text, fraction)
    else:
        print(f"{text} ...", file=sys.stderr, flush=True)


def command_of(store_url: str, instance: str, snapshot_id: str, without: str = "") -> str:
    """What to type for this recovery; an address in it holds no password."""
    words = ["--from", mask_url(store_url), "--instance", instance, "--fresh"]
    if snapshot_id != LATEST:
        words.append(snapshot_id)
    if without:
        words += ["--without", without]
    return "python services/restore.py " + " ".join(shlex.quote(word) for word in words if word)


def shops_text(shops: tuple[StoredShop, ...]) -> str:
    """The shops in a store, as a table."""
    lines = [f"{'instance':20} {'backups':>7}  {'newest (UTC)':19} {'size':>10}  id"]
    for shop in shops:
        head = f"{shop.instance:20} {shop.snapshots:>7,}  "
        if shop.newest is None:
            lines.append(f"{head}{shop.trouble}")
        else:
            taken = f"{shop.newest.created_at:%Y-%m-%d %H:%M:%S}"
            size = megabytes(shop.newest.plain_bytes)
            lines.append(f"{head}{taken} {size:>10}  {shop.newest.id}")
    return "\n".join(lines)


def choose(shops: tuple[StoredShop, ...], store_url: str) -> str:
    """Have the person at the terminal choose one of several shops.

    Raises:
        Invalid: nobody is there, or what was typed is none of them.
    """
    names = [shop.instance for shop in shops]
    sys.stderr.write(f"{store_url} holds backups of {len(names)} shops:\n{shops_text(shops)}\n")
    typed = ""
    if sys.stdin.isatty():
        sys.stderr.write("Which one? ")
        sys.stderr.flush()
        typed = sys.stdin.readline().strip()
    if typed not in names:
        raise Invalid(
            f"The store holds backups of several shops: {', '.join(names)}. Nothing was changed.",
            f"Say which with --instance, for example --instance {names[0]}.",
        )
    return typed


def plan_text(plan: FreshPlan) -> str:
    """What a recovery will put where, as lines of text."""
    manifest = plan.manifest
    lines = [
        f"Recovery of {manifest.instance} from {mask_url(plan.store_url)}",
        f"Backup {manifest.id} of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC "
        f"({manifest.reason}), {megabytes(manifest.plain_bytes + manifest.image_bytes)}",
        *(f"  {what:{_WIDTH}} -> {where}" for what, where in plan.places),
    ]
    if plan.absent:
        lines.append(f"This backup does not hold: {', '.join(plan.absent)}")
    if plan.resumes:
        lines.append("A recovery that was stopped goes on where it was.")
    lines.append("Nothing that is there already is overwritten.")
    return "\n".join(lines)


def outcome_text(outcome: FreshOutcome) -> str:
    """What was proven and how long it took, as lines of text."""
    lines = [f"Recovered from {outcome.snapshot_id} in {outcome.total:.1f} s."]
    for name, seconds in outcome.seconds.items():
        lines.append(f"  {name:{_WIDTH}} {seconds:7.1f} s  {outcome.proved.get(name, '')}".rstrip())
    return "\n".join([*lines, *outcome.notes])


def next_steps(settings: Settings, outcome: FreshOutcome, store_url: str) -> list[str]:
    """What a person has to do now, in order."""
    steps = [
        "Put into .env, so that backups go on: "
        f"BACKUP_STORE_URL={mask_url(store_url)} INSTANCE_ID={outcome.instance}",
        "Give this machine the secrets that are in no backup: the credentials of the store, "
        "BACKUP_SIGNING_KEY, BACKUP_AGE_RECIPIENTS, and the shop's own .env. DESK_SECRET_KEY is "
        "made anew, so everybody signs in again. Take the age identity away again if this "
        "machine only makes backups.",
        "Start the shop, and look at it.",
    ]
    if outcome.administrators:
        steps.append(
            "Start the desk (make run) and sign in with the password of before, as "
            f"{' or '.join(outcome.administrators[:5])}."
        )
    else:
        steps.append(
            "Make an administrator (python -m services.people.accounts create NAME --role admin), "
            "then start the desk: make run"
        )
    steps.append("Make a backup of this machine now: python services/backup.py")
    steps.append("Set the timers up again: docs/deploy/README.md")
    return steps


def steps_text(steps: list[str]) -> str:
    """Next steps as numbered lines."""
    return "\n".join(
        ["What to do now:", *(f"  {number}. {step}" for number, step in enumerate(steps, 1))]
    )
