"""The pictures that the README shows, taken from a desk with a real history.

Every run takes them and proves that the pages they show are whole; `make screenshots` makes
a month of history instead of a week and keeps the pictures in docs/screenshots.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from services import backup, drill, monitor, retention
from services.core.access import system_actor
from services.core.context import open_context
from services.core.errors import DeskError
from services.core.settings import PROJECT_ROOT, load_settings
from services.knowledge import transfer
from services.shop.attach import attach
from tests.e2e import shop
from tests.e2e.conftest import OUTPUT, Desk, click, new_context, settle
from tests.e2e.test_story import become_first_administrator, choose_backup, open_page
from tests.servers import S3Server

KEEP = bool(os.environ.get("DESK_SCREENSHOTS"))
FOLDER = PROJECT_ROOT / "docs" / "screenshots" if KEEP else OUTPUT
DAYS = 34 if KEEP else 5
PINNED = 1
ORDERS_A_DAY = 7
BUCKET = "insightshop-backups"


def make_history(home: Path, root: Path, store: dict[str, Any]) -> None:
    """A backup, proven, and a sample for each of the last days, while the shop takes orders; one
    backup fails."""
    now = datetime.now(UTC)
    last = now.replace(hour=2, minute=0, second=0, microsecond=0)
    # Nothing may lie in the future: shortly after midnight the last night is yesterday's.
    start = last - timedelta(days=DAYS + (last > now))
    settings = load_settings(env_file=home / "none.env", desk_home=home, shop_root=root, **store)
    ctx = open_context(settings)
    attach(ctx)
    module = settings.shop_kb_module
    plan = transfer.preview(ctx, system_actor("setup"), module.name, module.read_bytes())
    transfer.apply_import(ctx, system_actor("setup"), plan, reason="First import")
    vectors, aside = root / "vector_db", root / "vector_db.aside"
    vectors.rename(aside)  # reading them out takes longer than all the rest
    database = root / "instance" / "insightshop.db"
    for day in range(DAYS + 1):
        if day == DAYS:
            aside.rename(vectors)
        at = start + timedelta(days=day)
        today = dataclasses.replace(ctx, clock=lambda at=at: at)
        take_orders(root, at)
        if day == DAYS - 3:
            database.rename(database.with_suffix(".away"))
            with pytest.raises(DeskError):
                backup.run(today, system_actor("cron"), "scheduled")
            database.with_suffix(".away").rename(database)
        else:
            made = backup.run(today, system_actor("cron"), "scheduled").result
            if day % 3 != 1 or day == DAYS:
                drill.run(today, system_actor("cron"), "latest")
            if day == PINNED:
                assert made is not None
                retention.pin(today, system_actor("setup"), made["snapshot"], "Before the move")
        monitor.sample(today, system_actor("cron"))
    ctx.close()


def take_orders(root: Path, at: datetime) -> None:
    """Copies of older orders, dated `at`: the shop grows."""
    columns = [
        str(row[1]) for row in shop.rows(root, "PRAGMA table_info(orders)") if row[1] != "id"
    ]
    chosen = {
        "order_number": f"'ORD-{at:%Y%m%d}-' || printf('%08X', id + {at.toordinal()})",
        "created_at": f"'{at:%Y-%m-%d %H:%M:%S}.000000'",
        "updated_at": f"'{at:%Y-%m-%d %H:%M:%S}.000000'",
    }
    shop.run(
        root,
        f"INSERT INTO orders ({', '.join(columns)}) "
        f"SELECT {', '.join(chosen.get(name, name) for name in columns)} "
        f"FROM orders ORDER BY id LIMIT {ORDERS_A_DAY}",
    )


@pytest.fixture
def seasoned(
    tmp_path: Path, make_desk: Callable[..., Desk], page: Page, rclone_server: S3Server
) -> Desk:
    """A desk with a history in a bucket, its administrator signed in on `page`."""
    root = shop.make_shop(tmp_path / "shop")
    rclone_server.client().create_bucket(Bucket=BUCKET)
    store = rclone_server.settings(BUCKET)
    make_history(tmp_path / "desk0", root, store)
    variables = {name.upper(): str(value) for name, value in store.items()}
    desk = make_desk(SHOP_ROOT=str(root), APP_ENV="production", **variables)
    become_first_administrator(page, desk)
    shop.run(
        root,
        "UPDATE products SET price = price * 2 WHERE id % 5 = 0",
        "DELETE FROM products WHERE id IN (7, 8, 9)",
    )
    return desk


def test_the_main_pages_are_shown_whole_in_light_and_dark(
    seasoned: Desk, page: Page, browser: Browser
) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    dark = new_context(
        browser, color_scheme="dark", storage_state=page.context.storage_state()
    ).new_page()
    for suffix, shown in (("", page), ("-dark", dark)):
        shown.goto(seasoned.url)
        main = shown.get_by_test_id("stMain")
        expect(main.get_by_text("vanished now").first).to_be_visible()
        expect(shown.locator(".js-plotly-plot .bars path").first).to_be_visible()
        settle(shown)
        shown.wait_for_timeout(600)
        shown.screenshot(path=FOLDER / f"overview{suffix}.png")

        open_page(shown, "Backups")
        choose_backup(shown, 1)
        click(shown, "preview")
        expect(shown.locator(".st-key-typed")).to_be_visible()
        expect(main.get_by_text("3 products")).to_be_visible()
        picture(shown, f"restore{suffix}")

        click(shown, "close_panel")
        choose_backup(shown, 0)
        shown.get_by_role("tab", name="Proof").click()
        evidence = shown.locator(".st-key-evidence")
        expect(evidence).to_contain_text("sampled searches gave the recorded neighbours")
        picture(shown, f"drill{suffix}")

        open_page(shown, "Retention")
        days = shown.frame_locator("iframe[title*=retention_days]")
        expect(days.get_by_text("pinned", exact=True)).to_be_visible()
        picture(shown, f"retention{suffix}")
    dark.context.close()


def picture(shown: Page, name: str) -> None:
    """The whole page: what scrolls inside the window is shown by a taller window."""
    settle(shown)
    size = shown.viewport_size
    assert size is not None
    height = shown.get_by_test_id("stMain").evaluate("main => main.scrollHeight")
    shown.set_viewport_size({"width": size["width"], "height": max(size["height"], height)})
    shown.mouse.move(5, 5)
    shown.wait_for_timeout(600)
    shown.screenshot(path=FOLDER / f"{name}.png")
    shown.set_viewport_size(size)
