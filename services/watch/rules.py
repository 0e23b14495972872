"""What an alert can be about: each rule's name, title and patience. A new rule is a new line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from services.watch.judging import STALE
from services.watch.posture import Facts, Finding, Tone

_AT_ONCE = timedelta()
_BLINK = timedelta(minutes=10)


@dataclass(frozen=True)
class Rule:
    """One kind of trouble.

    Args:
        name: never changes: alerts are kept under it.
        title: what it is called in lists and messages.
        hold: it must last so long before anybody is told; the alert is pending until then.
        linger: it must be gone for so long before the alert is resolved: a disk that is filled
            and emptied around its limit is one trouble, not twenty.
    """

    name: str
    title: str
    hold: timedelta = _AT_ONCE
    linger: timedelta = _AT_ONCE


BACKUP_FAILED = Rule("backup.failed", "Backup failed")
BACKUP_STALE = Rule("backup.stale", "No backup for 26 hours")
BACKUP_NONE = Rule("backup.none", "No backup yet", hold=STALE)
DRILL_FAILED = Rule("drill.failed", "Test restore failed")
RELEASE_LATE = Rule("release.late", "Release not published")
RELEASE_UNWRITTEN = Rule("release.folder", "Shop's folder not as published", hold=_BLINK)

_OF_FINDINGS = {
    "failed": BACKUP_FAILED,
    "stale": BACKUP_STALE,
    "none": BACKUP_NONE,
    "proof failed": DRILL_FAILED,
    "damaged": Rule("backup.damaged", "Newest backup damaged"),
    "damaged older": Rule("backup.damaged-older", "Older backup damaged"),
    "unverified": Rule("backup.unread", "No backup read back"),
    "unproven": Rule("drill.never", "Never test restored"),
    "proof old": Rule("drill.old", "Last test restore too old"),
    "restore": Rule("restore.interrupted", "Restore interrupted"),
    "copy": Rule("copy.failed", "Second copy failed"),
    "store": Rule("store.unreachable", "Backup store in trouble", hold=_BLINK),
    "same disk": Rule("store.same-disk", "Backups on the shop's disk", hold=STALE),
    "shop": Rule("shop.trouble", "Shop's database in trouble", hold=_BLINK),
    "disk": Rule("disk.full", "Disk nearly full", linger=timedelta(hours=1)),
    "vectors": Rule("vectors.mismatch", "Vectors and products differ"),
    "release late": RELEASE_LATE,
    "unpublished": RELEASE_UNWRITTEN,
}
"""Which finding of the first page is which rule; what is not here is news, not trouble."""

RULES = {rule.name: rule for rule in _OF_FINDINGS.values()}


def rule_of(finding: Finding) -> Rule | None:
    """The rule that a finding is about, or None where nobody need be told."""
    return None if finding.tone is Tone.NOTE else _OF_FINDINGS.get(finding.code)


def looked_at(facts: Facts) -> frozenset[str] | None:
    """The rules that these facts say anything about; None where that is all of them."""
    if facts.unreached is not None:
        return None
    # What can't be seen goes on: an alert does not end because the shop is away.
    return frozenset(RULES) - {RELEASE_LATE.name, RELEASE_UNWRITTEN.name}


def named(name: str) -> Rule:
    """A rule by its name; one that a later version knew is told by its name alone."""
    return RULES.get(name, Rule(name, name))
