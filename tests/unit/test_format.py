"""Times, sizes and numbers read as people say them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ui import format as form

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"),
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1234, "1.2 kB"),
        (999_700, "1 MB"),
        (512_000_000, "512 MB"),
        (1_400_000_000, "1.4 GB"),
        (123_000_000_000_000_000_000, "123000 PB"),
    ],
)
def test_sizes_use_the_unit_that_reads_best(count, text):
    assert form.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.04, "0 s"),
        (3.21, "3.2 s"),
        (47.6, "48 s"),
        (59.9, "1 min"),
        (228, "3 min 48 s"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
    ],
)
def test_time_spans_keep_two_units_at_most(seconds, text):
    assert form.duration(seconds) == text


@pytest.mark.parametrize(
    ("back", "text"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=30), "just now"),
        (timedelta(minutes=12), "12 min ago"),
        (timedelta(hours=9), "9 h ago"),
        (timedelta(hours=47), "47 h ago"),
        (timedelta(days=3, hours=5), "3 days ago"),
        (timedelta(days=90), "3 months ago"),
        (timedelta(days=800), "2 years ago"),
        (timedelta(hours=-3), "in 3 h"),
    ],
)
def test_ages_grow_coarser_with_time(back, text):
    assert form.age(NOW - back, NOW) == text


def test_an_age_of_nothing_is_never():
    assert form.age(None, NOW) == "never"


def test_an_exact_time_is_the_viewers_and_names_its_zone():
    assert form.when(datetime(2026, 11, 22, 1, 0, tzinfo=UTC), BERLIN) == "22 Nov 2026, 02:00 CET"
    assert form.when(datetime(2026, 7, 1, 0, 5, tzinfo=UTC), BERLIN) == "1 Jul 2026, 02:05 CEST"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 11, 21, 23, 30, tzinfo=UTC), "today 00:30"),
        (datetime(2026, 11, 20, 23, 30, tzinfo=UTC), "yesterday 00:30"),
        (datetime(2026, 11, 19, 1, 0, tzinfo=UTC), "19 Nov 02:00"),
        (datetime(2025, 12, 31, 23, 30, tzinfo=UTC), "1 Jan 00:30"),
        (datetime(2025, 12, 30, 1, 0, tzinfo=UTC), "30 Dec 2025 02:00"),
    ],
)
def test_short_times_count_days_in_the_viewers_zone(at, text):
    assert form.when_short(at, NOW, BERLIN) == text


def test_numbers_are_grouped_and_nouns_agree():
    assert form.number(18204) == "18,204"
    assert form.number(1.25) == "1.2"
    assert form.plural(1, "order") == "1 order"
    assert form.plural(0, "order") == "0 orders"
    assert form.plural(2, "entry", "entries") == "2 entries"


def test_text_from_data_loses_every_markdown_power():
    safe = form.plain("![x](http://evil/p.png) :red[a] `b`\n# c <img src=x>")
    assert "![" not in safe and "](" not in safe and ":red[" not in safe
    assert "\n" not in safe and safe.replace("\\<", "").count("<") == 0
    assert form.plain("Äpfel → 3 Stück") == "Äpfel → 3 Stück"


def test_a_sentence_tells_a_backup_by_its_time_where_the_viewer_is():
    told = form.with_times("Restored the database from 20261122T010010Z-mi8k", BERLIN)
    assert told == "Restored the database from the backup of 22 Nov 2026, 02:00 CET"
    assert form.with_times("20261399T990000Z-mi8k stays", BERLIN) == "20261399T990000Z-mi8k stays"


@pytest.mark.parametrize(
    "text", ["see http://evil.example/x", "WWW.evil.example", "ada@evil.example"]
)
def test_no_address_in_data_becomes_a_link(text):
    shown = form.plain(text)
    assert not re.search(r"https?://|www\.|[a-z]@", shown.replace("\\", ""), re.IGNORECASE)
    assert shown.replace("\\", "").replace("\u2060", "") == text
