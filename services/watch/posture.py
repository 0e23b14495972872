"""Is the data safe? A pure judgement over facts: the same facts always give the same words."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta

STALE = timedelta(hours=26)
"""A daily backup that is two hours late. Older than this, what would be lost is too much."""
PROOF_LASTS = timedelta(days=30)
"""Without a passed test restore for so long, what is stored is believed and not known."""
NEW_DESK = timedelta(days=7)
"""So long after the first backup a desk need not have proven one."""
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
    DRILL = "drill"
    SEE_BACKUPS = "see backups"
    SEE_DAMAGED = "see damaged backups"
    IMPORT_KB = "import knowledge base"
    SEE_DISKS = "see disks"
    SEE_STORE = "see store"
    SEE_COPY = "see copy"


@dataclass(frozen=True)
class Snapshot:
    """As much of a snapshot as the judgement needs."""

    id: str
    at: datetime
    read_back_at: datetime | None
    problem: str = ""  # what was wrong when it was last looked at
    verified_at: datetime | None = None  # a drill restored it aside and found it equal


@dataclass(frozen=True)
class Proof:
    """A test restore that passed."""

    snapshot_id: str
    at: datetime
    seconds: float


@dataclass(frozen=True)
class Recovery:
    """How long it took to have the data back, measured."""

    seconds: float
    at: datetime
    how: str  # "drill" or "restore"


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
    newest_trusted: Snapshot | None = None  # read back in full, or proven by a drill
    first_backup_at: datetime | None = None
    last_proof: Proof | None = None
    failed_proof: Trouble | None = None  # a drill that failed, and none passed since
    damaged: int = 0  # backups that are known to be
    mismatch: str = ""  # what does not match between vectors and products, newest backup
    can_open: bool = True  # not encrypted, or this machine holds the identity
    failed_backup: Trouble | None = None  # the last backup, when it did not succeed
    interrupted_restore: Trouble | None = None
    shop_trouble: Trouble | None = None
    store_trouble: Trouble | None = None
    store_is_local: bool = False
    store_shares_disk: bool = False  # with the shop's database
    copy_trouble: Trouble | None = None  # of the second store, where there is one
    archive_news: Trouble | None = None  # a backup came back from the archive, or did not
    recovery: Recovery | None = None  # measured, never guessed
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

    What you would get back is the newest snapshot that was read back in full or proven; only
    where none was, the newest one that was made, and then the state is not "safe". Nor is it
    when the last test restore that passed is older than `PROOF_LASTS`; a desk whose first
    backup is younger than `NEW_DESK` only has it pointed out.

    Args:
        facts: as gathered at `now`.
        now: aware.
    """
    findings = [
        *_about_restores(facts),
        *_about_the_shop(facts),
        *_about_backups(facts, now),
        *_about_proofs(facts, now),
        *_about_the_store(facts),
        *_about_the_copy(facts),
        *_about_the_archive(facts),
        *_about_disks(facts),
        *_about_vectors(facts),
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
    return Posture(state, facts.newest_trusted or facts.newest, tuple(findings))


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
    elif facts.newest_trusted is None:
        found.append(
            Finding(
                "unverified",
                Tone.BAD,
                "No backup has been read back in full yet.",
                "Open the newest one and read it back, or make another: that is read back at once.",
                facts.newest.at,
                Action.SEE_BACKUPS,
            )
        )
    newest_good = facts.newest_trusted or facts.newest
    if now - newest_good.at > STALE and not found:
        found.append(
            Finding(
                "stale",
                Tone.BAD,
                "The newest backup that was read back in full is more than a day old.",
                "Back up now, and see why the nightly backup did not run.",
                newest_good.at + STALE,
                Action.BACK_UP,
            )
        )
    return found


def _is_news(failed: Trouble, newest: Snapshot | None) -> bool:
    return newest is None or failed.at is None or failed.at > newest.at


def _about_proofs(facts: Facts, now: datetime) -> list[Finding]:
    found = []
    failed = facts.failed_proof
    if failed is not None:
        found.append(
            Finding(
                "proof failed",
                Tone.BAD,
                failed.message,
                "Back up now and drill that one: what was found is in the damaged one's panel.",
                failed.at,
                Action.SEE_DAMAGED,
            )
        )
    elif facts.damaged and not (facts.newest and facts.newest.problem):
        found.append(
            Finding(
                "damaged older",
                Tone.WARNING,
                "One older backup is damaged."
                if facts.damaged == 1
                else f"{facts.damaged} older backups are damaged.",
                "Later ones passed. Its panel says what was found; it can't be relied on.",
                None,
                Action.SEE_DAMAGED,
            )
        )
    if facts.newest_trusted is None or (found and found[0].tone is Tone.BAD):
        return found
    return found + _about_the_age_of_the_proof(facts, now)


def _about_the_age_of_the_proof(facts: Facts, now: datetime) -> list[Finding]:
    where = (
        "It takes minutes, and nothing live is touched. Let cron make one every day (docs/deploy)."
        if facts.can_open
        else "The backups are encrypted: run `python services/drill.py` where the identity lies."
    )
    action = Action.DRILL if facts.can_open else Action.SEE_BACKUPS
    if facts.last_proof is None:
        first = facts.first_backup_at or now
        is_new = now - first <= NEW_DESK
        return [
            Finding(
                "unproven",
                Tone.NOTE if is_new else Tone.BAD,
                "Not proven yet: no backup has been restored as a test.",
                where,
                None if is_new else first,
                action,
            )
        ]
    if now - facts.last_proof.at > PROOF_LASTS:
        return [
            Finding(
                "proof old",
                Tone.BAD,
                f"The last test restore is {(now - facts.last_proof.at).days} days old.",
                where,
                facts.last_proof.at + PROOF_LASTS,
                action,
            )
        ]
    return []


def _about_vectors(facts: Facts) -> list[Finding]:
    if not facts.mismatch or facts.newest is None:
        return []
    return [
        Finding(
            "vectors",
            Tone.WARNING,
            f"Vectors and products do not match: {facts.mismatch}.",
            "The newest backup lists them and says why that may be.",
            facts.newest.at,
            Action.SEE_BACKUPS,
        )
    ]


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


def _about_the_copy(facts: Facts) -> list[Finding]:
    trouble = facts.copy_trouble
    if trouble is None:
        return []
    # The first store has everything: what is missing is the second chance.
    return [
        Finding("copy", Tone.WARNING, trouble.message, trouble.hint, trouble.at, Action.SEE_COPY)
    ]


def _about_the_archive(facts: Facts) -> list[Finding]:
    news = facts.archive_news
    if news is None:
        return []
    return [Finding("archive", Tone.NOTE, news.message, news.hint, news.at, Action.SEE_BACKUPS)]


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
