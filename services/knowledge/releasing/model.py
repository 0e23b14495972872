"""What a release is, what publishing one would do, and how the shop's folder stands."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from services.knowledge.asking import Answer, LookUp
from services.knowledge.history import EntryChange


class FolderState(enum.StrEnum):
    """How `KB_PUBLISH_DIR` stands to the release that is current."""

    NOT_SET = "not set"
    CURRENT = "current"  # it holds the release
    BEHIND = "behind"  # nothing of ours, or an older release: writing it is all there is to do
    EDITED = "edited"  # somebody changed the knowledge base in it by hand
    UNUSABLE = "unusable"  # missing, not writable, unreadable, or git is in the middle of something


@dataclass(frozen=True)
class Folder:
    """The folder the shop reads, looked at."""

    state: FolderState
    path: Path | None = None
    message: str = ""  # for EDITED and UNUSABLE: what is the matter
    hint: str = ""  # what to do
    is_git: bool = False
    edited: tuple[str, bytes] | None = None  # for EDITED: name and bytes, to be imported


@dataclass(frozen=True)
class Release:
    """One numbered state of the knowledge base."""

    number: int
    at: datetime
    author: str
    notes: str
    digest: str  # sha256 of its canonical JSON, hexadecimal
    entries: int
    added: int
    edited: int
    deleted: int
    is_current: bool


@dataclass(frozen=True)
class Activation:
    """That a release was made current, and what came of writing it for the shop."""

    id: int
    release: int
    at: datetime
    author: str
    reason: str
    written_at: datetime | None
    folder: str | None
    commit: str | None
    tag: str | None
    problem: str | None  # why it is not written (yet); None when it is, or nowhere to write to


@dataclass(frozen=True)
class ReleasePage:
    """One page of releases, newest first."""

    releases: tuple[Release, ...]
    total: int


@dataclass(frozen=True)
class ActivationPage:
    """One page of activations, newest first."""

    activations: tuple[Activation, ...]
    total: int


class ScheduleState(enum.StrEnum):
    """Where a scheduled release stands; all but the first are final."""

    WAITING = "waiting"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class Schedule:
    """A release that is to be made current at a time."""

    id: int
    release: int
    due_at: datetime
    author: str
    made_at: datetime
    state: ScheduleState
    ended_at: datetime | None
    problem: str | None  # why it failed, or what is to be known of how it was done
    is_overdue: bool  # it should have been done minutes ago: is `services/publish.py --due` run?
    needs_somebody: bool = False  # it failed, and nothing was published or scheduled since


@dataclass(frozen=True)
class AnswerChange:
    """A golden question that customers would be answered otherwise."""

    question: str
    note: str
    before: tuple[Answer, ...]
    after: tuple[Answer, ...]
    changed: tuple[LookUp, ...]


@dataclass(frozen=True)
class Comparison:
    """What differs between two releases, or between a release and what is saved."""

    before: int | None  # None: nothing (before the first release)
    after: int | None  # None: what is saved now
    changes: tuple[EntryChange, ...]  # at most `SHOWN`; author, time and reason are empty
    added: int
    edited: int
    deleted: int
    moved: int  # entries whose place alone differs
    answers: tuple[AnswerChange, ...]  # golden questions whose answers differ
    asked: int  # golden questions that were asked
    unreadable: str = ""  # why `before` can't be read: everything is told as new beside it


SHOWN = 200
"""Changes of a comparison that are told one by one; `comparing.more` tells the next ones."""


@dataclass(frozen=True)
class ReleasePlan:
    """What publishing now would do. It holds for exactly this state of the knowledge base."""

    number: int
    revision: str
    comparison: Comparison
    folder: Folder

    @property
    def is_empty(self) -> bool:
        """Whether the current release says all of this already."""
        seen = self.comparison
        return not (seen.added or seen.edited or seen.deleted or seen.moved)
