"""Is the data safe? A pure judgement over facts: the same facts always give the same words."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta

STALE = timedelta(hours=26)
"""A daily backup that is two hours late. Older than this, what would be lost is too much."""
DISK_LOW = 0.10
"""Below this share of free space a disk needs attention."""
DISK_FULL = 0.03
"""Below this the next backup or order may not fit."""


class State(enum.StrEnum):
    """The one word of the first screen."""

    SAFE = "safe"
    AT_RISK = "at risk"
    UNPROTECTED = "not protected yet"


class Tone(enum.StrEnum):
    """How much a finding matters."""

    BAD = "bad"  # the state is "at risk" while it lasts
    WARNING = "warning"
    NOTE = "note"


class Action(enum.StrEnum):
    """What one button can do about a finding."""

    BACK_UP = "back up"
    SEE_BACKUPS = "see backups"
    IMPORT_KB = "import knowledge base"
    SEE_DISKS = "see disks"
    SEE_STORE = "see store"


@dataclass(frozen=True)
class Snapshot:
    """As much of a snapshot as the judgement needs."""

    id: str
    at: datetime
    read_back_at: datetime | None
    problem: str = ""  # what was wrong when it was last read back


@dataclass(frozen=True)
class Trouble:
    """Something that failed, in its own words."""

    at: datetime | None  # None: it is so now, and nobody knows since when
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Disk:
    """A volume and what it holds."""

    name: str
    total: int
    free: int

    @property
    def free_share(self) -> float:
        """Free space as a share of the whole, 0 to 1."""
        return self.free / self.total if self.total else 0.0


@dataclass(frozen=True)
class Facts:
    """What is known about the installation, gathered before it is judged."""

    newest: Snapshot | None = None
    newest_verified: Snapshot | None = None
    failed_backup: Trouble | None = None  # the last backup, when it did not succeed
    interrupted_restore: Trouble | None = None
    shop_trouble: Trouble | None = None
    store_trouble: Trouble | None = None
    store_is_local: bool = False
    store_shares_disk: bool = False  # with the shop's database
    recovery_seconds: float | None = None  # measured, never guessed
    kb_empty: bool = False
    kb_module: bool = False  # the shop has a knowledge module that can be imported
    disks: tuple[Disk, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something that needs attention."""

    code: str
    tone: Tone
    text: str
    hint: str
    since: datetime | None
    action: Action | None


@dataclass(frozen=True)
class Posture:
    """The answer to the one question, and what stands in its way."""

    state: State
    recovery_point: Snapshot | None  # what you would get back
    findings: tuple[Finding, ...] = field(default=())

    @property
    def risks(self) -> tuple[Finding, ...]:
        """The findings that make the state "at risk"."""
        return tuple(finding for finding in self.findings if finding.tone is Tone.BAD)


def judge(facts: Facts, now: datetime) -> Posture:
    """Say whether the data is safe, and why not where it isn't.

    What you would get back is the newest snapshot that was read back in full; only where
    none was, the newest one that was made, and then the state is not "safe".

    Args:
        facts: as gathered at `now`.
        now: aware.
    """
    findings = [
        *_about_restores(facts),
        *_about_the_shop(facts),
        *_about_backups(facts, now),
        *_about_the_store(facts),
        *_about_disks(facts),
        *_about_knowledge(facts),
    ]
    order = list(Tone)
    findings.sort(key=lambda finding: order.index(finding.tone))
    if facts.newest is None:
        state = State.UNPROTECTED
    elif any(finding.tone is Tone.BAD for finding in findings):
        state = State.AT_RISK
    else:
        state = State.SAFE
    return Posture(state, facts.newest_verified or facts.newest, tuple(findings))


def _about_restores(facts: Facts) -> list[Finding]:
    trouble = facts.interrupted_restore
    if trouble is None:
        return []
    return [
        Finding(
            "restore",
            Tone.BAD,
            trouble.message,
            trouble.hint,
            trouble.at,
            Action.SEE_BACKUPS,
        )
    ]


def _about_the_shop(facts: Facts) -> list[Finding]:
    trouble = facts.shop_trouble
    if trouble is None:
        return []
    return [
        Finding("shop", Tone.BAD, trouble.message, trouble.hint, trouble.at, Action.SEE_BACKUPS)
    ]


def _about_backups(facts: Facts, now: datetime) -> list[Finding]:
    found = []
    failed = facts.failed_backup
    if failed is not None and _is_news(failed, facts.newest):
        found.append(
            Finding(
                "failed",
                Tone.BAD,
                f"The last backup failed. {failed.message}",
                failed.hint,
                failed.at,
                Action.BACK_UP,
            )
        )
    if facts.newest is None:
        if failed is None and facts.shop_trouble is None:
            found.append(
                Finding(
                    "none",
                    Tone.BAD,
                    "There is no backup yet.",
                    "The first one takes a moment; after that, let cron make one every night.",
                    None,
                    Action.BACK_UP,
                )
            )
        return found
    if facts.newest.problem:
        found.append(
            Finding(
                "damaged",
                Tone.BAD,
                f"The newest backup can't be trusted. {facts.newest.problem}",
                "Make another one now; the damaged one stays where it is.",
                facts.newest.at,
                Action.BACK_UP,
            )
        )
    elif facts.newest_verified is None:
        found.append(
            Finding(
                "unverified",
                Tone.BAD,
                "No backup has been read back in full yet.",
                "Open the newest one and verify it, or make another: that verifies itself.",
                facts.newest.at,
                Action.SEE_BACKUPS,
            )
        )
    newest_good = facts.newest_verified or facts.newest
    if now - newest_good.at > STALE and not found:
        found.append(
            Finding(
                "stale",
                Tone.BAD,
                "The newest verified backup is more than a day old.",
                "Back up now, and see why the nightly backup did not run.",
                newest_good.at + STALE,
                Action.BACK_UP,
            )
        )
    return found


def _is_news(failed: Trouble, newest: Snapshot | None) -> bool:
    return newest is None or failed.at is None or failed.at > newest.at


def _about_the_store(facts: Facts) -> list[Finding]:
    if facts.store_trouble is not None:
        trouble = facts.store_trouble
        return [
            Finding(
                "store",
                Tone.BAD,
                trouble.message,
                trouble.hint,
                trouble.at,
                Action.SEE_BACKUPS,
            )
        ]
    if facts.store_shares_disk:
        return [
            Finding(
                "same disk",
                Tone.WARNING,
                "Backups lie on the same disk as the shop: if that disk dies, both are gone.",
                "Set S3_BACKUP_BUCKET, or BACKUP_STORE_URL to a folder on another disk.",
                None,
                Action.SEE_STORE,
            )
        ]
    return []


def _about_disks(facts: Facts) -> list[Finding]:
    return [
        Finding(
            f"disk {disk.name}",
            Tone.BAD if disk.free_share < DISK_FULL else Tone.WARNING,
            f"The disk of {disk.name.replace(' + ', ' and ')} is {1 - disk.free_share:.0%} full.",
            "Free some space; a backup needs room for one copy of the database.",
            None,
            Action.SEE_DISKS,
        )
        for disk in facts.disks
        if disk.free_share < DISK_LOW
    ]


def _about_knowledge(facts: Facts) -> list[Finding]:
    if not facts.kb_empty or not facts.kb_module or facts.shop_trouble is not None:
        return []
    return [
        Finding(
            "knowledge",
            Tone.NOTE,
            "The knowledge base is empty, and the shop has one that can be imported.",
            "It is read, never run; you see what comes in before it is saved.",
            None,
            Action.IMPORT_KB,
        )
    ]
