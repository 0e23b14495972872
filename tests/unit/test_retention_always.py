"""What retention never does, whatever there is to decide about: properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.protection.model import Pin, SnapshotRow
from services.protection.retention.model import Inventory, Policy, PrunePlan
from services.protection.retention.plan import plan_prune
from tests.unit.test_retention import NOW, planned, row

MINUTES = st.integers(0, 800 * 24 * 60)


@st.composite
def inventories(draw) -> Inventory:
    """Snapshots of any age and kind."""
    ages = sorted(draw(st.lists(MINUTES, max_size=30, unique=True)), reverse=True)
    rows: list[SnapshotRow] = []
    for number, age in enumerate(ages):
        rows.append(
            row(
                NOW - timedelta(minutes=age),
                number,
                reason=draw(st.sampled_from(["scheduled", "manual", "safety", "legacy"]))
                if draw(st.booleans())
                else "scheduled",
                pin=Pin("why", "Ada", NOW) if draw(st.integers(0, 9)) == 0 else None,
                verified_at=NOW if draw(st.integers(0, 4)) == 0 else None,
                read_back_at=NOW if draw(st.booleans()) else None,
                verify_error="altered" if draw(st.integers(0, 7)) == 0 else None,
            )
        )
    return Inventory(tuple(draw(st.permutations(rows))))


policies = st.builds(
    Policy,
    days=st.integers(0, 40),
    weeks=st.integers(0, 10),
    months=st.integers(0, 14),
    minimum=st.integers(1, 9),
)


def kept_ids(plan: PrunePlan) -> set[str]:
    return {each.row.id for each in plan.kept}


@given(inventories(), policies)
def test_it_never_deletes_the_last_verified_the_last_read_back_or_a_pinned_one(inventory, policy):
    plan = plan_prune(inventory, policy, NOW)
    good = sorted(
        (each for each in inventory.snapshots if not each.verify_error),
        key=lambda each: (each.created_at, each.id),
    )
    for wanted in ("verified_at", "read_back_at"):
        last = [each.id for each in good if getattr(each, wanted)][-1:]
        assert set(last) <= kept_ids(plan)
    assert {each.id for each in inventory.snapshots if each.pin} <= kept_ids(plan)
    assert len(plan.kept) >= min(policy.minimum, len(inventory.snapshots))


@given(inventories(), policies)
def test_a_plan_made_again_after_it_was_carried_out_deletes_nothing(inventory, policy):
    plan = plan_prune(inventory, policy, NOW)
    left = replace(inventory, snapshots=tuple(each.row for each in plan.kept))
    assert plan_prune(left, policy, NOW).going == ()


@given(inventories(), policies, policies)
def test_a_looser_policy_never_deletes_more(inventory, policy, more):
    looser = Policy(
        policy.days + more.days,
        policy.weeks + more.weeks,
        policy.months + more.months,
        policy.minimum + more.minimum,
    )
    assert kept_ids(plan_prune(inventory, policy, NOW)) <= kept_ids(
        plan_prune(inventory, looser, NOW)
    )


@given(inventories(), policies, st.randoms())
def test_the_order_of_the_inventory_decides_nothing(inventory, policy, chance):
    shuffled = list(inventory.snapshots)
    chance.shuffle(shuffled)
    assert plan_prune(inventory, policy, NOW) == plan_prune(
        replace(inventory, snapshots=tuple(shuffled)), policy, NOW
    )


@given(
    st.integers(1, 60),
    st.integers(1, 45),
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 86_000)), max_size=12),
)
def test_when_daily_backups_succeeded_each_of_the_last_days_is_still_there(nights, days, extra):
    """Whatever else was made in between, and with the plan carried out every night."""
    policy = Policy(days, 2, 2, 1)
    begin = NOW - timedelta(days=nights)
    there: list[SnapshotRow] = []
    for night in range(nights):
        now = begin + timedelta(days=night + 1)
        there.append(row(now - timedelta(hours=1)))
        for number, (day, second) in enumerate(extra):
            at = now - timedelta(days=1) + timedelta(seconds=second)
            if day == night:
                there.append(row(at, number, reason="safety" if number % 3 else "manual"))
        there = [each.row for each in planned(there, policy, now).kept]
        wanted = {
            (now - timedelta(hours=1, days=back)).date() for back in range(min(days, night + 1))
        }
        assert wanted <= {each.created_at.date() for each in there}


@given(inventories(), policies)
def test_every_decision_has_words(inventory, policy):
    plan = plan_prune(inventory, policy, NOW)
    assert len(plan.decisions) == len(inventory.snapshots)
    for each in plan.decisions:
        assert each.words.startswith("goes: ") is not each.keep
        assert all(each.reasons)
