"""When trouble becomes an alert, and when an alert ends: pure, the same input gives the same."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from services.watch.posture import Finding, Posture, Tone
from services.watch.rules import named, rule_of


class AlertState(enum.StrEnum):
    """Where an alert stands."""

    PENDING = "pending"  # so now, but not for as long as its rule waits
    FIRING = "firing"
    RESOLVED = "resolved"


class Change(enum.StrEnum):
    """What happened to an alert."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"
    MUTED = "muted"
    UNMUTED = "unmuted"


@dataclass(frozen=True)
class Condition:
    """Trouble that is there now.

    Args:
        held: nothing new, but no end either: a worse trouble hides it.
    """

    rule: str
    subject: str
    severity: Tone
    message: str
    hint: str
    since: datetime | None = None
    held: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same trouble as before."""
        return self.rule, self.subject


@dataclass(frozen=True)
class Alert:
    """An alert as its row stands."""

    id: int
    rule: str
    subject: str
    state: AlertState
    severity: Tone
    message: str
    hint: str
    since: datetime
    opened_at: datetime
    seen_at: datetime
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    comment: str | None = None
    muted_until: datetime | None = None
    muted_by: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same trouble as before."""
        return self.rule, self.subject

    @property
    def title(self) -> str:
        """What its rule is called."""
        return named(self.rule).title

    def is_muted(self, now: datetime) -> bool:
        """Whether nothing is sent about it now."""
        return self.muted_until is not None and self.muted_until > now


@dataclass(frozen=True)
class Transition:
    """A change of state that the judgement asks for.

    Args:
        alert: what changes; None opens one.
        condition: the trouble as it is now; None where it is gone.
        tells: whether people are to hear of it (unless it is muted).
    """

    alert: Alert | None
    condition: Condition | None
    to: AlertState
    tells: bool
    note: str = ""


_SEVERITY = {Tone.NOTE: 0, Tone.WARNING: 1, Tone.BAD: 2}
_WORSE, _UNMUTED = "It got worse.", "It was muted, and it is still so."


def conditions(posture: Posture) -> tuple[Condition, ...]:
    """What of a posture somebody has to be told of, in words of the alerts."""
    found = [
        condition(finding)
        for finding in (*posture.findings, *posture.covered)
        if rule_of(finding) is not None
    ]
    return tuple(found)


def condition(finding: Finding) -> Condition:
    """One finding as a condition.

    Raises:
        KeyError: no rule is about it.
    """
    rule = rule_of(finding)
    if rule is None:
        raise KeyError(finding.code)
    return Condition(
        rule.name,
        finding.subject,
        finding.tone,
        finding.text,
        finding.hint,
        finding.since,
        finding.covered,
    )


def judge(
    standing: Iterable[Condition],
    open_alerts: Iterable[Alert],
    now: datetime,
    rules: Collection[str] | None = None,
    *,
    ends: bool = True,
) -> tuple[Transition, ...]:
    """What changes, given the trouble that is there now and the alerts that are open.

    Args:
        standing: every trouble of these rules that is there now.
        open_alerts: pending and firing ones.
        rules: which rules were looked at; others are left as they are. None: all.
        ends: whether what is not among `standing` is over; False where only that was looked at.
    """
    there = {each.key: each for each in standing if rules is None or each.rule in rules}
    known = {alert.key: alert for alert in open_alerts if rules is None or alert.rule in rules}
    changes = [
        change
        for key, each in there.items()
        if (change := _still_there(each, known.get(key), now)) is not None
    ]
    for key, alert in known.items():
        if ends and key not in there and now - alert.seen_at >= named(alert.rule).linger:
            was_told = alert.state is AlertState.FIRING
            changes.append(Transition(alert, None, AlertState.RESOLVED, was_told))
    return tuple(changes)


def _still_there(each: Condition, alert: Alert | None, now: datetime) -> Transition | None:
    if each.held:
        return None
    hold = named(each.rule).hold
    if alert is None:
        to = AlertState.PENDING if hold else AlertState.FIRING
        return Transition(None, each, to, to is AlertState.FIRING)
    if alert.state is AlertState.PENDING:
        if now - alert.opened_at < hold:
            return None
        return Transition(alert, each, AlertState.FIRING, True)
    if _SEVERITY[each.severity] > _SEVERITY[alert.severity]:
        return Transition(alert, each, AlertState.FIRING, True, _WORSE)
    if alert.muted_until is not None and alert.muted_until <= now:
        return Transition(alert, each, AlertState.FIRING, True, _UNMUTED)
    return None
