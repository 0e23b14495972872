"""The main job from the first visit to the charts, on a real desk in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e import shop
from tests.e2e.conftest import Desk, click, fill, new_context, settle, wait_until

PASSWORD = "a quiet lake at dawn"
SCREENSHOTS = Path(__file__).resolve().parents[2] / "docs" / "screenshots"


def become_first_administrator(page: Page, desk: Desk) -> None:
    page.goto(desk.url)
    settle(page)
    fill(page, "first_code", desk.setup_code)
    fill(page, "first_name", "Ada Admin")
    fill(page, "first_username", "ada")
    page.locator(".st-key-first_password input").fill(PASSWORD)
    page.locator(".st-key-first_again input").fill(PASSWORD)
    page.get_by_role("button", name="Create and sign in").click()
    expect(page.get_by_text("Signed in as")).to_be_visible()
    settle(page)


def sign_in(page: Page, url: str, name: str, password: str) -> None:
    page.goto(url)
    settle(page)
    fill(page, "sign_in_name", name)
    page.locator(".st-key-sign_in_password input").fill(password)
    page.get_by_role("button", name="Sign in").click()


def open_page(page: Page, title: str) -> None:
    """By the sidebar, as people do."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title).click()
    settle(page)


def backups_listed(page: Page) -> int:
    found = re.search(r"(\d+) backups? in ", page.get_by_test_id("stMain").inner_text())
    return int(found.group(1)) if found else -1


def choose_backup(page: Page, row: int) -> None:
    """Tick a row of the list, 0 is the newest."""
    box = page.get_by_test_id("stDataFrame").locator("canvas").first.bounding_box()
    assert box
    page.mouse.click(box["x"] + 18, box["y"] + 38 * (row + 1) + 19)
    expect(page.locator(".st-key-panel")).to_be_visible()
    settle(page)


def import_knowledge(page: Page, file: Path) -> None:
    open_page(page, "Entries")
    page.get_by_text("Import and export", exact=True).click()
    settle(page)
    page.locator(".st-key-kb_upload_0 input[type=file]").set_input_files(file)
    expect(page.locator(".st-key-kb_plan")).to_be_visible()
    settle(page)
    click(page, "kb_import_do")
    expect(page.locator(".st-key-kb_plan")).to_be_hidden()


def edit_first_cell(page: Page, section: str, text: str) -> None:
    """Type into the text of the first entry of a section and save it."""
    page.get_by_text("Sections", exact=True).click()
    settle(page)
    click(page, f"kb_section_{section}")
    editor = page.locator("#portal textarea, #portal input").first
    wait_until(lambda: _opened_cell(page, editor), 30, lambda: "the cell did not open")
    editor.fill(text)
    page.keyboard.press("Enter")
    settle(page)
    expect(page.locator(".st-key-kb_unsaved")).to_be_visible()
    page.get_by_placeholder("Reason (optional)").fill("Autumn wording")
    page.keyboard.press("Tab")
    settle(page)
    click(page, "kb_save")
    expect(page.locator(".st-key-kb_unsaved")).to_be_hidden()


def _opened_cell(page: Page, editor: Locator) -> bool:
    # The grid takes clicks only once it has drawn itself, and says nothing when it has.
    box = page.get_by_test_id("stDataFrame").locator("canvas").first.bounding_box()
    if box is None:
        return False
    page.mouse.click(box["x"] + 340, box["y"] + 54)
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    return editor.count() == 1


def test_a_shop_is_imported_edited_backed_up_damaged_restored_undone_and_shown(
    make_desk: Callable[..., Desk], page: Page, shop_root: Path
) -> None:
    desk = make_desk(SHOP_ROOT=str(shop_root))
    become_first_administrator(page, desk)
    assert rows_of_kb(shop_root) == 0

    import_knowledge(page, shop_root / "utils" / "fashion_kb.py")
    assert rows_of_kb(shop_root) > 100
    edit_first_cell(page, "dress_codes", "Velvet after six.")
    assert edited(shop_root) == 1

    open_page(page, "Backups")
    click(page, "back_up")
    wait_until(lambda: backups_listed(page) == 1, 60, lambda: "no backup was listed")
    orders = shop.rows(shop_root, "SELECT count(*), sum(total) FROM orders")

    shop.run(
        shop_root,
        "DELETE FROM order_items WHERE order_id > 100",
        "DELETE FROM orders WHERE id > 100",
        "UPDATE kb_entries SET body = '\"ruined\"' WHERE section = '/dress_codes'",
    )
    settle(page)
    choose_backup(page, 0)
    click(page, "preview")
    expect(page.get_by_text("orders").first).to_be_visible()
    expect(page.get_by_text("come back").first).to_be_visible()
    fill(page, "typed", "insightshop")
    click(page, "restore")
    expect(page.locator(".st-key-undo")).to_be_visible(timeout=90_000)
    assert shop.rows(shop_root, "SELECT count(*), sum(total) FROM orders") == orders
    assert edited(shop_root) == 1

    settle(page)
    click(page, "undo")
    wait_until(
        lambda: shop.rows(shop_root, "SELECT count(*) FROM orders") == [(100,)],
        60,
        lambda: "Undo did not bring the damage back",
    )
    assert edited(shop_root) == 0
    wait_until(lambda: backups_listed(page) == 3, 60, lambda: "two safety backups are expected")

    open_page(page, "Monitoring")
    main = page.get_by_test_id("stMain")
    expect(main.get_by_text("Backup results")).to_be_visible()
    expect(main.get_by_text("100% succeeded")).to_be_visible()
    wait_until(
        lambda: page.locator(".js-plotly-plot").count() >= 4, 30, lambda: "charts are missing"
    )
    open_page(page, "Audit log")
    settle(page)
    expect(page.get_by_test_id("stMain")).to_contain_text("Audit log")


def rows_of_kb(root: Path) -> int:
    return int(str(shop.rows(root, "SELECT count(*) FROM kb_entries")[0][0]))


def edited(root: Path) -> int:
    query = "SELECT count(*) FROM kb_entries WHERE body = '\"Velvet after six.\"'"
    return int(str(shop.rows(root, query)[0][0]))


def test_a_backup_goes_on_through_a_refresh_and_a_restart_of_the_web_server(
    make_desk: Callable[..., Desk], page: Page, shop_root: Path
) -> None:
    shop.swell(shop_root, 150)
    desk = make_desk(SHOP_ROOT=str(shop_root))
    become_first_administrator(page, desk)
    open_page(page, "Backups")
    click(page, "back_up")
    expect(page.get_by_text("Backing up")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Backing up")).to_be_visible()
    desk.stop()
    desk.start()
    page.goto(f"{desk.url}/backups")
    wait_until(lambda: backups_listed(page) == 1, 60, lambda: "the backup was lost")
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()


def test_a_backup_is_proven_by_a_drill_pinned_and_seen_on_every_page_that_tells_of_it(
    make_desk: Callable[..., Desk], page: Page, shop_root: Path
) -> None:
    desk = make_desk(SHOP_ROOT=str(shop_root))
    become_first_administrator(page, desk)
    open_page(page, "Backups")
    click(page, "back_up")
    wait_until(lambda: backups_listed(page) == 1, 60, lambda: "no backup was listed")
    choose_backup(page, 0)
    panel = page.locator(".st-key-panel")
    expect(panel.get_by_text("read back", exact=False).first).to_be_visible()
    panel.get_by_role("tab", name="Proof").click()
    expect(panel.get_by_text("Not proven yet")).to_be_visible()
    click(page, "drill")
    evidence = page.locator(".st-key-evidence")
    expect(evidence.get_by_text("Passed just now")).to_be_visible(timeout=90_000)
    expect(evidence).to_contain_text("every count and digest as recorded")
    expect(panel.locator(".st-key-panel_state")).to_contain_text("verified")

    open_page(page, "Retention")
    calendar = page.frame_locator("iframe[title*=retention_days]")
    calendar.get_by_role("button", name="1 backup, verified").click()
    day = page.locator(".st-key-chosen_day")
    expect(day).to_contain_text("stays")
    day.get_by_role("button", name="Pin", exact=True).click()
    page.get_by_label("Why must it be kept?").fill("Before the autumn sale")
    page.get_by_role("button", name="Pin this backup").click()
    expect(day.get_by_text("Before the autumn sale")).to_be_visible()
    expect(calendar.get_by_text("pinned", exact=True)).to_be_visible()

    open_page(page, "Store")
    expect(page.locator(".st-key-place")).to_contain_text("1 backup (1 readable)")
    open_page(page, "Overview")
    expect(page.locator(".st-key-state")).to_contain_text("Proven by a full test restore")


def test_on_a_server_that_has_just_started_an_address_shows_a_stranger_and_an_operator_nothing(
    make_desk: Callable[..., Desk], browser: Browser, page: Page, shop_root: Path
) -> None:
    desk = make_desk(SHOP_ROOT=str(shop_root))
    page.goto(f"{desk.url}/accounts")
    settle(page)
    expect(page.get_by_test_id("stDataFrame")).to_have_count(0)
    expect(page.get_by_text("Create the first administrator")).to_be_visible()
    become_first_administrator(page, desk)
    open_page(page, "Accounts")
    click(page, "account_new")
    fill(page, "account_name", "Otto Operator")
    fill(page, "account_username", "otto")
    page.locator(".st-key-account_role").get_by_text("Operator", exact=True).click()
    settle(page)
    click(page, "account_create")
    secret = page.get_by_role("dialog").get_by_test_id("stCode").inner_text().strip()

    other = new_context(browser)
    operator = other.new_page()
    sign_in(operator, desk.url, "otto", secret)
    operator.locator(".st-key-first_password_password input").fill(PASSWORD)
    operator.locator(".st-key-first_password_again input").fill(PASSWORD)
    operator.keyboard.press("Enter")
    expect(operator.get_by_text("Signed in as")).to_be_visible()
    wait_until(
        lambda: any(cookie["httpOnly"] for cookie in other.cookies()),
        20,
        lambda: "the browser was not given a cookie that scripts can't read",
    )

    desk.stop()
    desk.start()
    operator.goto(f"{desk.url}/accounts")
    settle(operator)
    expect(operator.get_by_text("does not include this page")).to_be_visible()
    expect(operator.get_by_text("Ada Admin")).to_have_count(0)
    expect(operator.get_by_test_id("stDataFrame")).to_have_count(0)
    other.close()
