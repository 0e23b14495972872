"""docs/storage.md names the prices, rules and limits that the code works with."""

from __future__ import annotations

import re

from services.core.settings import PROJECT_ROOT
from services.protection.archive.fees import (
    EXPEDITED_GLADLY,
    INSTANT_PER_GIB,
    MINIMUM_DAYS,
    PRICES_OF,
    RATES,
    SMALL,
    STANDARD_MONTH,
)
from services.protection.stores.base import Tier
from services.protection.stores.s3_lifecycle import ABORT_DAYS, OLD_VERSION_DAYS, our_ids

TEXT = (PROJECT_ROOT / "docs" / "storage.md").read_text("utf-8")


def rows(cells: int) -> list[list[str]]:
    found = [line.strip("|").split("|") for line in TEXT.splitlines() if line.startswith("| ")]
    return [[cell.strip(" `") for cell in row] for row in found if len(row) == cells]


def dollars(cell: str) -> float:
    return float(cell.removeprefix("US$ "))


def test_every_way_back_stands_in_the_table_with_its_wait_and_price():
    told = {(row[0], row[1]): row[2:] for row in rows(5) if row[0] in RATES}
    known = {
        (name, tier.value): rate for name, tiers in RATES.items() for tier, rate in tiers.items()
    }
    assert told.keys() == known.keys()
    for key, (wait, per_gib, per_1000) in told.items():
        rate = known[key]
        assert (wait, dollars(per_gib), dollars(per_1000)) == (
            rate.wait,
            rate.per_gib,
            rate.per_1000,
        )
    assert PRICES_OF in TEXT
    assert Tier.EXPEDITED not in RATES["DEEP_ARCHIVE"]


def test_the_minimum_days_and_the_fee_for_reading_are_those_that_the_plan_warns_of():
    told = {row[0].split("`")[0].split(" ")[0]: row for row in rows(4)}
    for name, days in MINIMUM_DAYS.items():
        assert told[name][3] == f"{days} days"
    assert f"US$ {INSTANT_PER_GIB:.2f} per GiB" in told["GLACIER_IR"][1]
    assert dollars(told["Standard"][2]) == STANDARD_MONTH


def test_the_rules_and_limits_are_those_of_the_code():
    for name in our_ids("", "x"):
        stem = "insightshop-archive-..." if name == "archive" else f"-{name.split('-', 1)[1]}-"
        assert stem in TEXT, name
    assert f"aborts unfinished uploads after {ABORT_DAYS} days" in TEXT
    assert f"removes old versions after {OLD_VERSION_DAYS} days" in TEXT
    assert f"under {SMALL // 1024} KB" in TEXT
    assert f"over {EXPEDITED_GLADLY // 10**6} MB" in TEXT


def test_every_command_is_one_that_the_doors_take():
    from services import doctor, store

    for door, parser in (("store", store._parser()), ("doctor", doctor._parser())):
        calls = re.findall(rf"^python services/{door}\.py ([^#\n]+)", TEXT, re.MULTILINE)
        assert calls
        for call in calls:
            parser.parse_args(call.split())
