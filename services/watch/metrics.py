"""The registry of everything the desk measures: one entry per metric."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Unit(enum.StrEnum):
    """What a value counts; decides how pages write it."""

    BYTES = "bytes"
    ROWS = "rows"
    COUNT = "count"
    SECONDS = "seconds"
    OUTCOME = "outcome"  # 1 succeeded, 0 did not


@dataclass(frozen=True)
class Metric:
    """What is measured. `subject` says what its samples are told apart by, if by anything."""

    name: str
    title: str
    unit: Unit
    subject: str = ""


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("shop.database_bytes", "Shop database", Unit.BYTES),
        Metric("shop.rows", "Rows", Unit.ROWS, "table"),
        Metric("vectors.bytes", "Vectors", Unit.BYTES),
        Metric("vectors.count", "Vectors", Unit.COUNT),
        Metric("images.bytes", "Pictures", Unit.BYTES),
        Metric("images.count", "Pictures", Unit.COUNT),
        Metric("control.bytes", "Control database", Unit.BYTES),
        Metric("disk.total_bytes", "Disk size", Unit.BYTES, "volume"),
        Metric("disk.free_bytes", "Free disk space", Unit.BYTES, "volume"),
        Metric("backup.age_seconds", "Age of the newest backup", Unit.SECONDS),
        Metric("backup.data_bytes", "Data", Unit.BYTES),
        Metric("backup.stored_bytes", "Stored", Unit.BYTES),
        Metric("backup.outcome", "Backup results", Unit.OUTCOME, "job"),
        Metric("backup.seconds", "Time a backup took", Unit.SECONDS, "job"),
    )
}
"""Every metric by its name. Writing a sample of another one is a bug."""

MAIN_TABLES = ("orders", "order_items", "products", "users", "cart_items", "kb_entries")
"""The shop's tables whose rows are counted, in the order in which people ask for them."""
