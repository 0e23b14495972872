"""The judgement of the first screen, case by case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.watch.judging import judge
from services.watch.posture import Action, Disk, Facts, Proof, Snapshot, State, Tone, Trouble

NOW = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)


def snapshot(hours: float, *, verified: bool = True, problem: str = "") -> Snapshot:
    at = NOW - timedelta(hours=hours)
    return Snapshot(f"s{hours}", at, at if verified else None, problem)


def trouble(hours: float = 0) -> Trouble:
    return Trouble(NOW - timedelta(hours=hours), "It broke.", "Mend it.")


def proof(days: float) -> Proof:
    return Proof("p", NOW - timedelta(days=days), 228.0)


GOOD = Facts(newest=snapshot(9), newest_trusted=snapshot(9), last_proof=proof(1))
BARE = Facts()

CASES = [
    ("all is well", GOOD, State.SAFE, []),
    ("nothing was ever backed up", BARE, State.UNPROTECTED, ["none"]),
    (
        "the very first backup failed",
        replace(BARE, failed_backup=trouble(1)),
        State.UNPROTECTED,
        ["failed"],
    ),
    (
        "no shop and no backup: there is nothing to back up",
        replace(BARE, shop_trouble=trouble()),
        State.UNPROTECTED,
        ["shop"],
    ),
    (
        "26 hours are still in time",
        replace(GOOD, newest=snapshot(26), newest_trusted=snapshot(26)),
        State.SAFE,
        [],
    ),
    (
        "a nightly backup that did not come",
        replace(GOOD, newest=snapshot(26.1), newest_trusted=snapshot(26.1)),
        State.AT_RISK,
        ["stale"],
    ),
    (
        "made every day, but what was proven is old",
        replace(GOOD, newest=snapshot(1, verified=False), newest_trusted=snapshot(49)),
        State.AT_RISK,
        ["stale"],
    ),
    (
        "made, never read back",
        Facts(newest=snapshot(1, verified=False)),
        State.AT_RISK,
        ["unverified"],
    ),
    (
        "the newest one is damaged, an older one is good",
        replace(
            GOOD,
            newest=snapshot(1, verified=False, problem="Altered."),
            newest_trusted=snapshot(25),
            damaged=1,
        ),
        State.AT_RISK,
        ["damaged"],
    ),
    (
        "a desk of a week need not have proven anything: it is pointed out",
        replace(GOOD, last_proof=None, first_backup_at=NOW - timedelta(days=7)),
        State.SAFE,
        ["unproven"],
    ),
    (
        "after that a backup that was never restored is a hope",
        replace(GOOD, last_proof=None, first_backup_at=NOW - timedelta(days=7.1)),
        State.AT_RISK,
        ["unproven"],
    ),
    ("a proof lasts thirty days", replace(GOOD, last_proof=proof(30)), State.SAFE, []),
    (
        "and no day longer",
        replace(GOOD, last_proof=proof(30.1)),
        State.AT_RISK,
        ["proof old"],
    ),
    (
        "a test restore that failed, and none passed since",
        replace(GOOD, failed_proofs=(trouble(1),), damaged=1),
        State.AT_RISK,
        ["proof failed"],
    ),
    (
        "an old backup is damaged, later ones passed",
        replace(GOOD, damaged=2),
        State.SAFE,
        ["damaged older"],
    ),
    (
        "nothing was read back: that comes before any proof",
        Facts(newest=snapshot(200, verified=False), first_backup_at=NOW - timedelta(days=9)),
        State.AT_RISK,
        ["unverified", "stale"],
    ),
    (
        "vectors without a product are worth a warning",
        replace(GOOD, mismatch="3 vectors without an active product"),
        State.SAFE,
        ["vectors"],
    ),
    (
        "the last run failed after a good backup",
        replace(GOOD, failed_backup=trouble(1)),
        State.AT_RISK,
        ["failed"],
    ),
    (
        "a failure older than the newest backup is history",
        replace(GOOD, failed_backup=trouble(12)),
        State.SAFE,
        [],
    ),
    ("the store is away", replace(GOOD, store_trouble=trouble()), State.AT_RISK, ["store"]),
    ("the shop is gone", replace(GOOD, shop_trouble=trouble()), State.AT_RISK, ["shop"]),
    (
        "a restore was cut off: first of all",
        replace(GOOD, interrupted_restore=trouble(), shop_trouble=trouble()),
        State.AT_RISK,
        ["restore", "shop"],
    ),
    (
        "backups beside the shop are worth a warning",
        replace(GOOD, store_is_local=True, store_shares_disk=True),
        State.SAFE,
        ["same disk"],
    ),
    (
        "a store that is away needs no advice on where to put it",
        replace(GOOD, store_shares_disk=True, store_trouble=trouble()),
        State.AT_RISK,
        ["store"],
    ),
    (
        "a disk nine tenths full warns",
        replace(GOOD, disks=(Disk("shop", 100, 9), Disk("desk", 100, 50))),
        State.SAFE,
        ["disk"],
    ),
    (
        "a disk that is full is a risk",
        replace(GOOD, disks=(Disk("shop + desk", 100, 2),)),
        State.AT_RISK,
        ["disk"],
    ),
    (
        "a scheduled release that was not published loses nothing",
        replace(GOOD, unreached=(trouble(1),)),
        State.SAFE,
        ["release late"],
    ),
    (
        "nor does a folder that is not as published",
        replace(GOOD, folder_trouble=trouble()),
        State.SAFE,
        ["unpublished"],
    ),
    (
        "an empty knowledge base with one at hand",
        replace(GOOD, kb_empty=True, kb_module=True),
        State.SAFE,
        ["knowledge"],
    ),
    ("an empty knowledge base and nothing to import", replace(GOOD, kb_empty=True), State.SAFE, []),
]


@pytest.mark.parametrize(
    ("facts", "state", "codes"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_the_state_follows_from_the_facts(facts, state, codes):
    posture = judge(facts, NOW)
    assert posture.state is state
    assert [finding.code for finding in posture.findings] == codes
    assert (state is State.AT_RISK) <= bool(posture.risks)


def test_a_desk_that_cannot_open_its_backups_is_told_where_to_prove_them():
    old = replace(GOOD, last_proof=None, first_backup_at=NOW - timedelta(days=8))
    (here,) = judge(old, NOW).findings
    (elsewhere,) = judge(replace(old, can_open=False), NOW).findings
    assert here.action is Action.DRILL and elsewhere.action is Action.SEE_BACKUPS
    assert "where the identity lies" in elsewhere.hint


def test_what_you_would_get_back_is_what_was_proven():
    proven, made = snapshot(30), snapshot(1, verified=False)
    assert judge(Facts(newest=made, newest_trusted=proven), NOW).recovery_point == proven
    assert judge(Facts(newest=made), NOW).recovery_point == made
    assert judge(Facts(), NOW).recovery_point is None


def test_the_worst_comes_first_and_every_finding_says_what_to_do():
    posture = judge(
        replace(
            GOOD,
            kb_empty=True,
            kb_module=True,
            store_shares_disk=True,
            failed_backup=trouble(1),
        ),
        NOW,
    )
    assert [f.tone for f in posture.findings] == [Tone.BAD, Tone.WARNING, Tone.NOTE]
    assert [f.action for f in posture.findings] == [
        Action.BACK_UP,
        Action.SEE_STORE,
        Action.IMPORT_KB,
    ]
    assert all(f.text.endswith(".") and f.hint.endswith(".") for f in posture.findings)
