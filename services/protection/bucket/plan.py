""" "Prepare bucket": what the bucket is like, what the settings ask for, and making it so."""

from __future__ import annotations

import enum
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from services.core import audit
from services.core.access import Actor, Permission, require
from services.core.context import Context
from services.core.errors import Conflict, DeskError, Invalid
from services.core.settings import Settings
from services.protection.bucket import words
from services.protection.stores.s3_bucket import (
    Bucket,
    BucketKeeper,
    Forbidden,
    Found,
    Item,
    Unsupported,
)
from services.protection.stores.s3_client import HURRIED, Patience, S3Place, place_of
from services.protection.stores.s3_encryption import asked_for, compared
from services.protection.stores.s3_lifecycle import (
    OLD_VERSION_DAYS,
    Rule,
    others,
    our_ids,
    ours,
    problems,
    wanted_rules,
)

log = logging.getLogger("desk.bucket")


class Verdict(enum.StrEnum):
    """What is to be done about one setting of the bucket."""

    GOOD = "as it should be"
    CHANGE = "will be changed"
    OFF = "not asked for"
    UNSUPPORTED = "not supported here"
    FORBIDDEN = "not allowed"
    IMPOSSIBLE = "not possible"
    DONE = "changed"
    FAILED = "failed"


NOT_DONE = (Verdict.FAILED, Verdict.FORBIDDEN)


@dataclass(frozen=True)
class Line:
    """One setting of the bucket: what is, what will be, and why."""

    item: Item
    now: str
    will: str
    why: str
    verdict: Verdict


@dataclass(frozen=True)
class Stage:
    """A day in the life of a snapshot, for the picture."""

    day: int
    title: str
    note: str
    applied: bool  # the bucket does so already (or needs nothing for it)


@dataclass(frozen=True)
class BucketPlan:
    """What "Prepare bucket" shows, and what it then does: just this, or nothing."""

    url: str
    lines: tuple[Line, ...]
    stages: tuple[Stage, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    foreign_rules: tuple[str, ...]  # ids of the lifecycle rules of others, which are kept
    fingerprint: str

    @property
    def changes(self) -> tuple[Line, ...]:
        """The lines that will be changed."""
        return tuple(line for line in self.lines if line.verdict is Verdict.CHANGE)


def plan(ctx: Context, *, hurried: bool = False) -> BucketPlan:
    """Look at the bucket and say what would change.

    Raises:
        Invalid: the store is no bucket.
        Transient, Misconfigured: it can't be reached.
    """
    place = _place(ctx.settings, HURRIED if hurried else None)
    return _plan(ctx.settings, place, BucketKeeper(place, ctx.settings).read())


def prepare(ctx: Context, actor: Actor, wanted: BucketPlan) -> BucketPlan:
    """Do what a plan says, each line on its own, and read the bucket again.

    The audit log gets what was before and what is now.

    Returns:
        The plan of what is now; the lines that were to change are DONE, or say why not.

    Raises:
        Conflict: the bucket is no longer as it was when the plan was made.
        Invalid: a lifecycle rule that would be sent is not one. Nothing was changed.
        Transient, Misconfigured: the bucket can't be reached.
    """
    require(actor, Permission.STORE_MANAGE)
    done = _apply(ctx, wanted)
    failed = [line for line in done.lines if line.verdict in NOT_DONE]
    changed = [line.item.value for line in done.lines if line.verdict is Verdict.DONE]
    audit.note(
        ctx,
        actor,
        "store.prepare",
        ("store", done.url),
        f"Prepared the bucket: {', '.join(changed) or 'nothing'} changed"
        + (f"; {', '.join(line.item.value for line in failed)} could not be" if failed else ""),
        details={"before": as_details(wanted), "after": as_details(done)},
        outcome="failed" if failed and not changed else "done",
    )
    return done


def _apply(ctx: Context, wanted: BucketPlan) -> BucketPlan:
    place = _place(ctx.settings)
    keeper = BucketKeeper(place, ctx.settings)
    bucket = keeper.read()
    current = _plan(ctx.settings, place, bucket)
    if current.fingerprint != wanted.fingerprint:
        raise Conflict(
            f"{place.url} or the settings changed since the plan was shown. Nothing was changed.",
            "Look at the plan again.",
        )
    rules, ids = _rules(ctx.settings, place), _ids(ctx.settings, place)
    changing = {line.item for line in current.changes}
    if Item.LIFECYCLE in changing:
        _judge(bucket, rules, ids)
    steps: dict[Item, Callable[[], None]] = {
        Item.PUBLIC: keeper.block_public,
        Item.ENCRYPTION: lambda: keeper.encrypt(*_encryption(ctx.settings, place)),
        Item.VERSIONING: keeper.keep_versions,
        Item.LIFECYCLE: lambda: keeper.put_rules(bucket.lifecycle, rules, ids),
        Item.LOCK: lambda: keeper.lock(ctx.settings.object_lock_days),
    }
    refused: dict[Item, Line] = {}
    for line in current.changes:
        try:
            steps[line.item]()
        except Unsupported as error:
            refused[line.item] = replace(line, verdict=Verdict.UNSUPPORTED, why=error.message)
        except Forbidden as error:
            refused[line.item] = replace(line, verdict=Verdict.FORBIDDEN, why=str(error))
        except DeskError as error:
            log.warning("%s of %s: %s", line.item.value, place.url, error)
            refused[line.item] = replace(line, verdict=Verdict.FAILED, why=str(error))
    return _after(_plan(ctx.settings, place, keeper.read()), changing, refused)


def _after(found: BucketPlan, changing: set[Item], refused: dict[Item, Line]) -> BucketPlan:
    lines = []
    for line in found.lines:
        if line.item in refused:
            lines.append(replace(refused[line.item], now=line.now))
        elif line.item in changing and line.verdict is Verdict.GOOD:
            lines.append(replace(line, verdict=Verdict.DONE))
        elif line.item in changing:
            why = "The server said that it did so, but the bucket is as it was."
            lines.append(replace(line, verdict=Verdict.FAILED, why=why))
        else:
            lines.append(line)
    return replace(found, lines=tuple(lines))


def _plan(settings: Settings, place: S3Place, bucket: Bucket) -> BucketPlan:
    rules, ids = _rules(settings, place), _ids(settings, place)
    lines = (
        _public(bucket),
        _encrypted(settings, place, bucket),
        _versioned(bucket),
        _lived(settings, bucket, rules, ids),
        _locked(settings, bucket),
    )
    foreign = [rule for rule, _ in others(bucket.lifecycle, ids)]
    archived = next((rule for rule in ours(bucket.lifecycle, ids) if rule.get("Transitions")), None)
    warnings = (
        *words.of_others(foreign, place.prefix, settings.instance_id),
        *words.fees(settings),
        *words.about_lock(settings, bucket),
    )
    told: list[Any] = [[line.item, line.now, line.will, line.verdict] for line in lines]
    told.append([settings.archive_class, settings.backup_s3_kms_key, list(bucket.found.values())])
    told.append([text.decode("utf-8", "replace") for text in bucket.lifecycle.texts])
    return BucketPlan(
        place.url,
        lines,
        _stages(settings, archived, rules),
        warnings,
        tuple(words.about_archive(settings, bucket)),
        tuple(str(rule.get("ID") or "(no id)") for rule in foreign),
        hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest(),
    )


def _line(
    bucket: Bucket, item: Item, now: str, will: str, why: str, *, good: bool, off: bool = False
) -> Line:
    found = bucket.found[item]
    if found is Found.UNSUPPORTED:
        return Line(item, "unknown", "-", words.UNSUPPORTED[item], Verdict.UNSUPPORTED)
    if found is Found.FORBIDDEN:
        return Line(item, "can't be seen", "-", words.FORBIDDEN, Verdict.FORBIDDEN)
    if off:
        return Line(item, now, "as it is", why, Verdict.OFF)
    verdict = Verdict.GOOD if good else Verdict.CHANGE
    return Line(item, now, "as it is" if good else will, why, verdict)


def _public(bucket: Bucket) -> Line:
    blocked = sum(bucket.public.values())
    now = "blocked" if blocked == 4 else f"{blocked} of 4 blocks set" if blocked else "not blocked"
    return _line(bucket, Item.PUBLIC, now, "blocked", words.WHY[Item.PUBLIC], good=blocked == 4)


def _encrypted(settings: Settings, place: S3Place, bucket: Bucket) -> Line:
    wanted, key = _encryption(settings, place)
    now = words.encryption(bucket.encryption, bucket.kms_key)
    # What somebody chose is not made weaker by a default.
    chosen = settings.backup_s3_encryption == "auto" and bool(bucket.encryption)
    # Where KMS does not tell which key an alias stands for, nothing speaks against the bucket's.
    same = not key or (wanted == bucket.encryption and compared(settings, place, bucket.kms_key))
    good = chosen or (bucket.encryption == wanted and same is not False)
    return _line(
        bucket,
        Item.ENCRYPTION,
        now,
        words.encryption(wanted, key),
        (words.UNCOMPARED if same is None else words.WHY[Item.ENCRYPTION])
        if wanted
        else "BACKUP_S3_ENCRYPTION does not ask for it here.",
        good=good,
        off=not wanted,
    )


def _versioned(bucket: Bucket) -> Line:
    now = {"Enabled": "on", "Suspended": "suspended"}.get(bucket.versioning, "off")
    good = bucket.versioning == "Enabled"
    return _line(bucket, Item.VERSIONING, now, "on", words.WHY[Item.VERSIONING], good=good)


def _lived(
    settings: Settings, bucket: Bucket, rules: tuple[Rule, ...], ids: tuple[str, ...]
) -> Line:
    present = ours(bucket.lifecycle, ids)
    foreign = len(bucket.lifecycle.rules) - len(present)
    now = words.rules(present, foreign)
    will = words.rules(rules, foreign)
    why = words.lifecycle(settings, _old_version_days(settings))
    return _line(bucket, Item.LIFECYCLE, now, will, why, good=_same(present, rules))


def _locked(settings: Settings, bucket: Bucket) -> Line:
    days = settings.object_lock_days
    now = words.lock(bucket.lock, possible=bucket.found[Item.LOCK] is Found.SET)
    if days and bucket.found[Item.LOCK] is Found.UNSET:
        return Line(Item.LOCK, now, "-", words.NO_LOCK, Verdict.IMPOSSIBLE)
    held = bucket.lock.get("Days", 0) + 365 * bucket.lock.get("Years", 0)
    good = held == days or (bucket.lock.get("Mode") == "COMPLIANCE" and held >= days)
    return _line(
        bucket,
        Item.LOCK,
        now,
        f"{days} days, governance",
        words.WHY[Item.LOCK] if days else "OBJECT_LOCK_DAYS is 0.",
        good=good,
        off=not days,
    )


def _stages(
    settings: Settings, archived: Rule | None, rules: tuple[Rule, ...]
) -> tuple[Stage, ...]:
    stages = [Stage(0, "Standard", "readable at once", applied=True)]
    wanted = next((rule for rule in rules if rule.get("Transitions")), None)
    if shown := wanted or archived:
        move = shown["Transitions"][0]
        title, note = words.CLASS[move["StorageClass"]]
        stages.append(Stage(move["Days"], title, note, applied=wanted == archived))
    for days, what in words.removals(settings):
        stages.append(Stage(days, f"{what.capitalize()} ones go", "by retention", applied=True))
    return tuple(sorted(stages, key=lambda stage: stage.day))


def _judge(bucket: Bucket, rules: tuple[Rule, ...], ids: tuple[str, ...]) -> None:
    """
    Raises:
        Invalid: the rules that would be sent are no good set; the first fault, in words.
    """
    foreign = [rule for rule, _ in others(bucket.lifecycle, ids)]
    found = problems([*foreign, *rules])
    if found:
        raise Invalid(
            f"{found[0]} Nothing was changed.",
            "Correct that rule in the bucket, or ARCHIVE_AFTER_DAYS, then look at the plan again.",
        )


def _same(present: tuple[Rule, ...], wanted: tuple[Rule, ...]) -> bool:
    def by_id(rules: tuple[Rule, ...]) -> list[Rule]:
        return sorted(rules, key=lambda rule: str(rule["ID"]))

    return by_id(present) == by_id(wanted)


def _rules(settings: Settings, place: S3Place) -> tuple[Rule, ...]:
    return wanted_rules(
        place.prefix,
        settings.instance_id,
        archive_days=settings.archive_after_days,
        storage=settings.archive_class,
        old_version_days=_old_version_days(settings),
    )


def _ids(settings: Settings, place: S3Place) -> tuple[str, ...]:
    return tuple(our_ids(place.prefix, settings.instance_id).values())


def _old_version_days(settings: Settings) -> int:
    # A version that is locked is not removed before its time anyway.
    return max(OLD_VERSION_DAYS, settings.object_lock_days)


def _encryption(settings: Settings, place: S3Place) -> tuple[str, str]:
    asked = asked_for(settings, place)
    return asked.get("ServerSideEncryption", ""), asked.get("SSEKMSKeyId", "")


def _place(settings: Settings, patience: Patience | None = None) -> S3Place:
    """
    Raises:
        Invalid: the backups lie in a folder.
    """
    if not settings.store_url.startswith("s3://"):
        raise Invalid(
            "The backups lie in a folder of this machine; there is no bucket to prepare.",
            "Set BACKUP_STORE_URL to s3://BUCKET/PREFIX to keep them off this machine.",
        )
    return place_of(settings, patience)


def as_details(found: BucketPlan) -> dict[str, Any]:
    """A plan for the audit log and `--json`."""
    return {
        "lines": [
            {
                "item": line.item.value,
                "now": line.now,
                "will": line.will,
                "why": line.why,
                "verdict": line.verdict.value,
            }
            for line in found.lines
        ],
        "foreign_rules": list(found.foreign_rules),
        "warnings": list(found.warnings),
        "notes": list(found.notes),
    }
