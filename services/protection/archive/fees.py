"""What an archive costs and how long it makes one wait: an estimate, from a dated price list."""

from __future__ import annotations

from dataclasses import dataclass

from services.protection.stores.base import Tier

PRICES_OF = "November 2025"
"""AWS's list prices in US dollars in its cheapest regions; elsewhere it is up to twice that."""
GIB = 1 << 30
STANDARD_MONTH = 0.023  # per GiB and month, for the readable copy
MINIMUM_DAYS = {"GLACIER_IR": 90, "GLACIER": 90, "DEEP_ARCHIVE": 180}
"""Days that are paid for, however soon an object is removed."""
SMALL = 128 * 1024
"""Objects below this size are not moved by a lifecycle rule."""


@dataclass(frozen=True)
class Rate:
    """How one class gives objects back by one tier."""

    per_gib: float
    per_1000: float  # requests
    wait: str  # typically, by AWS's documentation
    longest_hours: float


RATES: dict[str, dict[Tier, Rate]] = {
    "GLACIER": {
        Tier.EXPEDITED: Rate(0.03, 10.0, "1 to 5 minutes", 0.25),
        Tier.STANDARD: Rate(0.01, 0.05, "3 to 5 hours", 5),
        Tier.BULK: Rate(0.0, 0.0, "5 to 12 hours", 12),
    },
    "DEEP_ARCHIVE": {
        Tier.STANDARD: Rate(0.02, 0.10, "up to 12 hours", 12),
        Tier.BULK: Rate(0.0025, 0.025, "up to 48 hours", 48),
    },
}
EXPEDITED_GLADLY = 250 * 10**6
"""Larger objects take longer than an expedited retrieval promises."""
INSTANT_PER_GIB = 0.03
"""What reading from GLACIER_IR costs; it needs no retrieval."""


def tiers_of(classes: frozenset[str]) -> tuple[Tier, ...]:
    """The tiers by which objects of all these classes can be asked for."""
    return tuple(tier for tier in Tier if all(tier in RATES.get(each, {}) for each in classes))


def cost(sizes: dict[str, tuple[int, int]], tier: Tier, days: int) -> float:
    """US dollars for bringing objects back and keeping the copies.

    Args:
        sizes: of each class, the number of objects and their bytes.
    """
    total = 0.0
    for storage, (count, size) in sizes.items():
        rate = RATES[storage][tier]
        total += count / 1000 * rate.per_1000
        total += size / GIB * (rate.per_gib + STANDARD_MONTH * days / 30)
    return total


def slowest(classes: frozenset[str], tier: Tier) -> Rate:
    """The rate of the class that makes one wait longest."""
    return max((RATES[each][tier] for each in classes), key=lambda rate: rate.longest_hours)
