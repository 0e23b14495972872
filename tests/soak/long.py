"""Fifty people, and three browsers, at the same section for a minute; `make soak` runs it.

What came of it is written to docs/soak.md.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.core.access import command_line_actor
from services.core.context import open_context
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.people import accounts
from services.shop.attach import attach
from tests import postgres
from tests.e2e.conftest import Desk, browser_path
from tests.e2e.shop import make_shop
from tests.knowledge_base import load, small_kb
from tests.postgres import PostgresServer
from tests.services.postgres_desk import desk_on
from tests.soak.browsers import PASSWORD, edit_in_browsers, settle_browsers
from tests.soak.editors import FIELDS, edit_together, open_books, settle_accounts

EDITORS = int(os.environ.get("DESK_SOAK_EDITORS", "50"))
SECONDS = float(os.environ.get("DESK_SOAK_SECONDS", "60"))
REPORT = PROJECT_ROOT / "docs" / "soak.md"

_BEGINNING = """# Many people at once

`make soak` lets {editors} people, each with a desk process's worth of connections, edit the same
section for {seconds:g} seconds: cells (often the same ones), new keys, new entries, deletions, and
taking back what they did. Where two meant the same cell they take theirs or mine, as a person
would. Then the accounts are settled:

- the history, replayed from its beginning, gives exactly the rows that are there;
- every change begins where the one before it ended: nothing was lost in between;
- every cell that a save was acknowledged for is in the history, once, with what its author had
  seen before it: nobody wrote over what they had not seen;
- every change set is in the audit log, once.

Then three people do the same in three real browsers, each with an account of their own: they
type into cells of the grid and into the panel of an entry, add, delete and save, and where two
meant the same they keep theirs, mine, or the merged text. The same accounts are settled, and
every change set under their names holds exactly the cells that were typed, over exactly the
texts that the page had shown.

One difference anywhere fails the run. This file is written by it.
"""


def test_fifty_editors_of_one_section_lose_nothing_on_sqlite(ctx, shop):
    load(ctx)
    people = edit_together(ctx.settings, EDITORS, SECONDS)
    _report("SQLite", settle_accounts(ctx, people))


@pytest.fixture
def wide_server(monkeypatch) -> Iterator[PostgresServer]:
    """A server that lets everybody in: each of the fifty has connections of their own."""
    monkeypatch.setitem(postgres._QUICK, "max_connections", "400")
    yield from postgres.running_server(16, "pginstall")


def test_fifty_editors_of_one_section_lose_nothing_on_postgresql(wide_server, tmp_path):
    ctx = desk_on(wide_server, tmp_path)
    try:
        load(ctx)
        people = edit_together(ctx.settings, EDITORS, SECONDS)
        _report("PostgreSQL 16", settle_accounts(ctx, people))
    finally:
        ctx.close()


def test_three_browsers_in_one_section_lose_nothing(tmp_path):
    if browser_path() is None:
        pytest.fail("no Chromium or Chrome on this machine: the browsers did NOT run")
    root = make_shop(tmp_path / "shop")
    desk = Desk(tmp_path / "desk", {"SHOP_ROOT": str(root)})
    settings = load_settings(env_file=tmp_path / "none.env", desk_home=desk.home, shop_root=root)
    ctx = open_context(settings)
    try:
        attach(ctx)
        document = small_kb()
        guide = document["fabric_guide"]
        guide |= {f"weave_{n}": dict.fromkeys(FIELDS, f"Like weave {n}.") for n in range(8)}
        load(ctx, document)
        names = ["ben", "eva", "lia"]
        for name in names:
            accounts.create(ctx, command_line_actor(), name, name, "editor", password=PASSWORD)
        desk.start()
        people = edit_in_browsers(desk.url, names, SECONDS)
        _report("Three browsers", settle_browsers(open_books(ctx), people))
    finally:
        desk.stop()
        ctx.close()


def _report(database: str, counted: Counter[str]) -> None:
    """Put the figures of a database into the report, beside those of the others."""
    lines = [f"| {what} | {counted[what]:,} |" for what in sorted(counted)]
    part = "\n".join([f"## {database}", "", "| | |", "|---|---|", *lines, ""])
    parts = _parts(REPORT)
    parts[database] = part
    beginning = _BEGINNING.format(editors=EDITORS, seconds=SECONDS)
    REPORT.write_text("\n".join([beginning, *(parts[name] for name in sorted(parts))]))


def _parts(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    _beginning, *found = path.read_text().split("\n## ")
    return {one.partition("\n")[0]: f"## {one}".rstrip("\n") + "\n" for one in found}
