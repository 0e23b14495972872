"""Differences in the shop's own words: "14 orders placed since then would be lost"."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.protection.rescue.compare import TableDiff

_NOUNS = {
    "orders": ("order", "orders"),
    "products": ("product", "products"),
    "users": ("customer", "customers"),
    "product_variations": ("product variation", "product variations"),
    "reviews": ("review", "reviews"),
    "payments": ("payment", "payments"),
    "returns": ("return", "returns"),
    "shipments": ("shipment", "shipments"),
    "sales": ("sale", "sales"),
    "cart_items": ("cart line", "cart lines"),
    "wishlist_items": ("wish list line", "wish list lines"),
    "order_items": ("order line", "order lines"),
    "payment_logs": ("payment log line", "payment log lines"),
    "product_relations": ("product relation", "product relations"),
    "ai_assistant_configs": ("assistant setting", "assistant settings"),
    "ai_selected_provider": ("assistant choice", "assistant choices"),
}
"""Tables by what a shopkeeper calls a row of them, the most important first."""

_COLUMNS = {
    ("products", "price"): ("price", "prices"),
    ("products", "stock_quantity"): ("stock level", "stock levels"),
    ("product_variations", "price"): ("price of a variation", "prices of variations"),
    ("product_variations", "stock_quantity"): (
        "stock level of a variation",
        "stock levels of variations",
    ),
    ("orders", "status"): ("order status", "order statuses"),
}
_KNOWLEDGE = "kb_"


class Tone(enum.StrEnum):
    """What a line of a preview is about."""

    LOST = "lost"
    BACK = "back"
    CHANGED = "changed"
    NOTE = "note"


@dataclass(frozen=True)
class PlanLine:
    """One sentence of a preview."""

    tone: Tone
    text: str


def table_lines(diffs: Iterable[TableDiff], taken_at: datetime) -> Iterator[PlanLine]:
    """What a restore of the database does, most important first.

    The knowledge base's own tables are left out: its entries are told one by one.

    Args:
        taken_at: when the snapshot was taken.
    """
    known, diffs = list(_NOUNS), tuple(diffs)
    found = sorted(
        (diff for diff in diffs if not diff.same and not diff.table.startswith(_KNOWLEDGE)),
        key=lambda diff: (
            known.index(diff.table) if diff.table in _NOUNS else len(known),
            diff.table,
        ),
    )
    yield from _lost(found, taken_at)
    if back := _listing(_counted(diff.table, diff.back) for diff in found if diff.back):
        yield PlanLine(Tone.BACK, f"{back} {_verb(found)} back")
    for diff in found:
        yield from _changed(diff)
    yield from _counted_only(diffs)


def entry_lines(diff: KnowledgeDiff) -> Iterator[PlanLine]:
    """What happens to the knowledge base, as counts."""
    if diff.lost:
        yield PlanLine(
            Tone.LOST,
            f"{plural(len(diff.lost), 'knowledge base entry', 'knowledge base entries')} "
            "made since then would be lost",
        )
    if diff.back:
        number = len(diff.back)
        yield PlanLine(
            Tone.BACK,
            f"{plural(number, 'knowledge base entry', 'knowledge base entries')} "
            f"{'comes' if number == 1 else 'come'} back",
        )
    if diff.changed:
        number = len(diff.changed)
        yield PlanLine(
            Tone.CHANGED,
            f"{plural(number, 'knowledge base entry', 'knowledge base entries')} "
            f"{'goes back to its' if number == 1 else 'go back to their'} earlier text",
        )


@dataclass(frozen=True)
class KnowledgeDiff:
    """Entries of the knowledge base by their path, for example `fabric_guide / silk / care`."""

    lost: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def knowledge_diff(live: dict[str, Any], snapshot: dict[str, Any]) -> KnowledgeDiff:
    """Compare two knowledge bases entry by entry.

    Args:
        live: nested dicts of texts as they are now.
        snapshot: the same as backed up.
    """
    ours, theirs = dict(_leaves(live)), dict(_leaves(snapshot))
    return KnowledgeDiff(
        lost=tuple(" / ".join(path) for path in ours if path not in theirs),
        back=tuple(" / ".join(path) for path in theirs if path not in ours),
        changed=tuple(
            " / ".join(path) for path in ours if path in theirs and ours[path] != theirs[path]
        ),
    )


def plural(number: int, one: str, many: str) -> str:
    """A count with its noun: "1 order", "1,234 orders"."""
    return f"{number:,} {one if number == 1 else many}"


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, (*path, str(key)))
    elif path:
        yield path, value


def _lost(found: list[TableDiff], taken_at: datetime) -> Iterator[PlanLine]:
    others = []
    for diff in found:
        if not diff.lost:
            continue
        if diff.table != "orders":
            others.append(diff)
            continue
        # The shop writes naive UTC text that sorts like time.
        fresh = diff.lost_since[:19].replace("T", " ") >= f"{taken_at:%Y-%m-%d %H:%M:%S}"
        which = "placed since then" if fresh else "that the backup does not hold"
        money = f" (total {diff.lost_sum:,.2f})" if diff.lost_sum else ""
        yield PlanLine(Tone.LOST, f"{_counted(diff.table, diff.lost)} {which} would be lost{money}")
    if others:
        listed = _listing(_counted(diff.table, diff.lost) for diff in others)
        yield PlanLine(Tone.LOST, f"{listed} that the backup does not hold would be lost")


def _changed(diff: TableDiff) -> Iterator[PlanLine]:
    named = 0
    for column, number in diff.columns.items():
        one, many = _COLUMNS[(diff.table, column)]
        named = max(named, number)
        yield PlanLine(
            Tone.CHANGED,
            f"{plural(number, one, many)} {'goes' if number == 1 else 'go'} back to "
            f"{'its' if number == 1 else 'their'} earlier value",
        )
    if diff.changed > named:
        rest = diff.changed - named
        yield PlanLine(
            Tone.CHANGED,
            f"{_counted(diff.table, rest, other=named > 0)} {'goes' if rest == 1 else 'go'} back "
            f"to {'its' if rest == 1 else 'their'} earlier content",
        )


def _counted_only(diffs: Iterable[TableDiff]) -> Iterator[PlanLine]:
    many = [
        _NOUNS.get(diff.table, ("", f"rows of {diff.table}"))[1] for diff in diffs if diff.counted
    ]
    if many:
        yield PlanLine(
            Tone.NOTE,
            f"Too many to be compared one by one in the time a preview takes: {_listing(many)}. "
            "Only their numbers were compared",
        )


def _counted(table: str, number: int, *, other: bool = False) -> str:
    one, many = _NOUNS.get(table, (f"row of {table}", f"rows of {table}"))
    extra = "other " if other else ""
    return plural(number, extra + one, extra + many)


def _verb(found: list[TableDiff]) -> str:
    return "comes" if sum(diff.back for diff in found) == 1 else "come"


def _listing(parts: Iterable[str]) -> str:
    listed = list(parts)
    if len(listed) < 2:
        return "".join(listed)
    return f"{', '.join(listed[:-1])} and {listed[-1]}"
