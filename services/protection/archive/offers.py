"""How a snapshot comes back from the archive: by which tiers, how soon, at what cost."""

from __future__ import annotations

from services.core.context import Context
from services.protection.archive import fees
from services.protection.archive.index import INSTANT_CLASS, known
from services.protection.archive.model import Offer, Options
from services.protection.model import Manifest, Storage
from services.protection.stores.base import Access, ArchiveState, Tier


def options_of(
    ctx: Context,
    manifest: Manifest,
    held: dict[str, int],
    states: dict[str, ArchiveState],
    days: int,
) -> Options:
    """What can be done about a snapshot whose objects are in these states.

    Args:
        held: stored bytes of each object.
        days: how long the copies would stay, for the estimate.
    """
    sizes: dict[str, tuple[int, int]] = {}
    instant = largest = 0
    for key, state in states.items():
        if state.storage == INSTANT_CLASS:
            instant += held[key]
        away = state.access is not Access.READABLE or state.ready_until is not None
        if away:
            storage = state.storage if state.storage in fees.RATES else "GLACIER"
            count, size = sizes.get(storage, (0, 0))
            sizes[storage] = count + 1, size + held[key]
            largest = max(largest, held[key])
    accesses = {state.access for state in states.values()}
    ends = [state.ready_until for state in states.values() if state.ready_until]
    storage = (
        Storage.ARCHIVED
        if accesses - {Access.READABLE}
        else Storage.READY
        if ends
        else Storage.INSTANT
        if instant
        else Storage.STANDARD
    )
    newest = known(ctx, manifest.id, 1)
    return Options(
        manifest.id,
        storage,
        objects=sum(count for count, _ in sizes.values()),
        stored_bytes=sum(size for _, size in sizes.values()),
        classes=tuple(sorted(sizes)),
        offers=_offers(sizes, days, largest),
        retrieval=newest[0] if newest else None,
        ready_until=min(ends, default=None) if storage is Storage.READY else None,
        reading_cost=instant / fees.GIB * fees.INSTANT_PER_GIB,
    )


def _offers(sizes: dict[str, tuple[int, int]], days: int, largest: int) -> tuple[Offer, ...]:
    classes = frozenset(sizes)
    offers = []
    for tier in fees.tiers_of(classes) if sizes else ():
        rate = fees.slowest(classes, tier)
        note = ""
        if tier is Tier.EXPEDITED and largest > fees.EXPEDITED_GLADLY:
            note = "objects over 250 MB take longer"
        hours = rate.longest_hours
        offers.append(Offer(tier, rate.wait, hours, fees.cost(sizes, tier, days), note))
    return tuple(offers)
