"""The pictures that the README shows, taken from a desk with a real history.

Every run takes them and proves that the pages they show are whole; `make screenshots` makes
a month of history instead of a week and keeps the pictures in docs/screenshots.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from services import backup, drill, monitor, retention
from services.core.access import Actor, command_line_actor, system_actor
from services.core.context import Context, open_context
from services.core.errors import DeskError
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.knowledge import entries
from services.knowledge.changes import Add, Edit, save
from services.knowledge.exchange import applying
from services.knowledge.quality.texts import COLOURS, FABRICS
from services.knowledge.releasing import golden, releases
from services.shop.attach import attach
from tests.e2e import access, shop
from tests.e2e.conftest import (
    OUTPUT,
    PATIENCE_MS,
    Desk,
    click,
    new_context,
    settle,
    wait_until,
)
from tests.e2e.test_story import become_first_administrator, choose_backup, open_page
from tests.servers import S3Server

KEEP = bool(os.environ.get("DESK_SCREENSHOTS"))
FOLDER = PROJECT_ROOT / "docs" / "screenshots" if KEEP else OUTPUT
DAYS = 34 if KEEP else 5
PINNED = 1
ORDERS_A_DAY = 7
BUCKET = "insightshop-backups"
PUBLISHED = "utils"
"""The shop's own folder, from which it reads its knowledge base."""
PAGES = (
    "Overview",
    "Entries",
    "Backups",
    "Retention",
    "Store",
    "Monitoring",
    "Accounts",
    "Audit log",
)
VIEWS = ("history", "bin", "quality", "try", "releases", "transfer")
"""Of the knowledge base, beside its sections."""


def make_history(home: Path, root: Path, store: dict[str, Any]) -> None:
    """A backup, proven, and a sample for each of the last days, while the shop takes orders; one
    backup fails."""
    now = datetime.now(UTC)
    last = now.replace(hour=2, minute=0, second=0, microsecond=0)
    # Nothing may lie in the future: shortly after midnight the last night is yesterday's.
    start = last - timedelta(days=DAYS + (last > now))
    settings = load_settings(
        env_file=home / "none.env",
        desk_home=home,
        shop_root=root,
        kb_publish_dir=PUBLISHED,
        **store,
    )
    ctx = open_context(settings)
    attach(ctx)
    module = settings.shop_kb_module
    plan = applying.preview(ctx, system_actor("setup"), module.name, module.read_bytes())
    applying.apply_import(ctx, system_actor("setup"), plan, reason="First import")
    make_releases(ctx, start)
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


def make_releases(ctx: Context, start: datetime) -> None:
    """Two releases of the knowledge base, questions that are always asked, and later edits."""
    first, second = (
        dataclasses.replace(ctx, clock=lambda at=start + timedelta(days=day, hours=9): at)
        for day in (1, 3)
    )
    mia, jonas = command_line_actor("Mia Moreau"), command_line_actor("Jonas Berg")
    for question in ("navy", "silk blouse", "job interview", "black tie"):
        golden.add(first, mia, question, "")
    releases.publish(first, mia, releases.preview(first, mia), "What the shop knew until now")
    write(second, mia, COLOURS, "navy", text=" Gold buttons suit it.")
    save(second, mia, [Add(COLOURS, "teal", {"text": "Sand, cream and a little gold."})], "Spring")
    releases.publish(second, mia, releases.preview(second, mia), "Teal is new, navy gets gold")
    write(ctx, jonas, COLOURS, "navy", text=" Keep brown shoes for the day.")
    write(ctx, mia, FABRICS, "silk", care=" Never wring it.")


def write(ctx: Context, actor: Actor, part: str, key: str, **more: str) -> None:
    """Add words to the cells of an entry."""
    found = next(one for one in entries.page(ctx, actor, part).entries if one.key == key)
    before = {name: found.cells[name] for name in more}
    after = {name: before[name] + words for name, words in more.items()}
    save(ctx, actor, [Edit(found.id, found.version, before, after)], "What customers asked")


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


@dataclasses.dataclass(frozen=True)
class Seasoned:
    """A desk that has been at work for a while."""

    url: str
    signed_in: Any  # what a browser of its administrator holds


@pytest.fixture(scope="module")
def seasoned(
    tmp_path_factory: pytest.TempPathFactory,
    shop_template: Path,
    browser: Browser,
    rclone_server: S3Server,
) -> Iterator[Seasoned]:
    """A desk with a history in a bucket, and its administrator; tests here only look."""
    home = tmp_path_factory.mktemp("seasoned")
    root = Path(shutil.copytree(shop_template, home / "shop"))
    rclone_server.client().create_bucket(Bucket=BUCKET)
    store = rclone_server.settings(BUCKET)
    make_history(home / "desk", root, store)
    variables = {name.upper(): str(value) for name, value in store.items()}
    variables |= {"SHOP_ROOT": str(root), "KB_PUBLISH_DIR": PUBLISHED, "APP_ENV": "production"}
    desk = Desk(home / "desk", variables)
    desk.start()
    context = new_context(browser)
    page = context.new_page()
    become_first_administrator(page, desk)
    wait_until(
        lambda: any(cookie["httpOnly"] for cookie in context.cookies()),
        20,
        lambda: "the browser was not given a cookie",
    )
    shop.run(
        root,
        "UPDATE products SET price = price * 2 WHERE id % 5 = 0",
        "DELETE FROM products WHERE id IN (7, 8, 9)",
    )
    yield Seasoned(desk.url, context.storage_state())
    context.close()
    desk.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_main_pages_are_shown_whole(seasoned: Seasoned, browser: Browser, scheme: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    suffix = "" if scheme == "light" else "-dark"
    with visit(browser, seasoned, color_scheme=scheme) as shown:
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

        shown.goto(f"{seasoned.url}/knowledge?view=releases")
        click(shown, "kb_release_publish")
        expect(shown.locator("ins:visible", has_text="brown shoes").first).to_be_visible()
        picture(shown, f"publish{suffix}")

        shown.goto(f"{seasoned.url}/knowledge?view=try")
        click(shown, "kb_try_navy")
        expect(shown.locator("ins:visible", has_text="brown shoes").first).to_be_visible()
        picture(shown, f"try{suffix}")


def test_every_page_is_named_in_order_and_worked_without_a_mouse(
    seasoned: Seasoned, browser: Browser
) -> None:
    with visit(browser, seasoned) as shown:
        for title in PAGES:
            open_page(shown, title)
            hear(shown, title)
        for view in VIEWS:
            shown.goto(f"{seasoned.url}/knowledge?view={view}")
            hear(shown, f"the knowledge base, {view}")
        shown.goto(f"{seasoned.url}/knowledge?section=fabric_guide")
        hear(shown, "a section of the knowledge base")
        open_page(shown, "Backups")
        shown.locator(".st-key-state").get_by_role("radio", name="All").focus()
        shown.keyboard.press("ArrowRight")
        expect(shown.get_by_role("radio", name="Verified")).to_be_focused()
        choose_backup(shown, 0)
        hear(shown, "a backup beside the list")
        shown.goto(f"{seasoned.url}/no-such-page")
        expect(shown.get_by_role("heading", name="There is no such page")).to_be_visible()
        expect(shown.get_by_role("dialog")).to_have_count(0)
        hear(shown, "an address that is none")
        click(shown, "to_front")
        expect(shown.get_by_role("heading", name="Overview")).to_be_visible()


def hear(shown: Page, what: str) -> None:
    """Whoever hears this page, or works it by keyboard, gets everything there is."""
    settle(shown)
    assert access.faults(shown) == [], what
    assert access.unreachable(shown) == [], what


@contextmanager
def visit(browser: Browser, seasoned: Seasoned, **options: Any) -> Iterator[Page]:
    """The front page, as the administrator sees it."""
    context = new_context(browser, storage_state=seasoned.signed_in, **options)
    shown = context.new_page()
    shown.set_default_timeout(PATIENCE_MS)
    shown.goto(seasoned.url)
    settle(shown)
    yield shown
    context.close()


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
