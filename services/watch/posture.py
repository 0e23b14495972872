"""The words of "is the data safe?": the facts that are judged, and what a judgement is made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime


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
    SEE_RELEASES = "see releases"


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
    subject: str = ""  # which of several


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
    failed_proofs: tuple[Trouble, ...] = ()  # drills that failed, and none passed since
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
    unreached: tuple[Trouble, ...] | None = ()  # of releases, by schedule; None: not to be known
    folder_trouble: Trouble | None = None  # the one the shop reads is not as published


@dataclass(frozen=True)
class Finding:
    """Something that needs attention. Code and subject name it, however it is put into words."""

    code: str
    tone: Tone
    text: str
    hint: str
    since: datetime | None
    action: Action | None
    subject: str = ""  # which of several: a disk, a backup
    covered: bool = False  # it stands, but a worse finding says enough


@dataclass(frozen=True)
class Posture:
    """The answer to the one question, and what stands in its way."""

    state: State
    recovery_point: Snapshot | None  # what you would get back
    findings: tuple[Finding, ...] = field(default=())
    covered: tuple[Finding, ...] = field(default=())  # those that need not be shown

    @property
    def risks(self) -> tuple[Finding, ...]:
        """The findings that make the state "at risk"."""
        return tuple(finding for finding in self.findings if finding.tone is Tone.BAD)
