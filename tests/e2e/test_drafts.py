"""What is typed is on the server a moment later, and typing goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import select

from db.control import kb_draft_entries as held
from db.engine import read
from services.core.access import system_actor
from services.core.context import Context, open_context
from services.core.loading import load_settings
from services.knowledge import entries
from services.knowledge.drafting.model import decode
from services.shop.attach import attach
from tests.e2e.conftest import Desk, click, new_context, settle
from tests.e2e.test_story import PASSWORD, become_first_administrator, sign_in
from tests.knowledge_base import load

BASICS = "/knowledge?section=color_matching&part=%2Fcolor_matching%2Fbasics"
TYPED = "Sand and "


def field(page: Page) -> Locator:
    return page.locator("[class*='st-key-kb_cell_'] textarea").first


def kept(page: Page) -> str:
    """What the bar says of the unsaved changes; empty without any."""
    bar = page.locator(".st-key-kb_unsaved")
    return bar.inner_text() if bar.count() else ""


def drafts(ctx: Context) -> list[str]:
    """The texts that the server has."""
    with read(ctx.control) as connection:
        numbers = connection.execute(select(held.c.number, held.c.body)).all()
    found = [decode(number, body) for number, body in numbers]
    return [text for one in found if one for text in one.cells.values()]


def type_slowly(page: Page, text: str) -> None:
    """With a pause now and then, so that the text is sent in the middle of a word."""
    for index, letter in enumerate(text):
        page.keyboard.type(letter)
        page.wait_for_timeout(1_300 if index % 8 == 3 else 60)


def wait_for(page: Page, true: Callable[[], bool]) -> None:
    """Poll while the browser's events are heard."""
    for _n in range(200):
        if true():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not come about")


def test_a_text_one_never_left_is_offered_after_the_browser_was_killed_and_no_letter_is_lost(
    browser: Browser, page: Page, make_desk, shop_root, tmp_path
):
    desk: Desk = make_desk(SHOP_ROOT=str(shop_root))
    settings = load_settings(
        env_file=tmp_path / "none.env", desk_home=desk.home, shop_root=shop_root
    )
    ctx = open_context(settings)
    attach(ctx)
    load(ctx)
    first = new_context(browser)
    typing = first.new_page()
    become_first_administrator(typing, desk)
    typing.goto(desk.url + BASICS)
    settle(typing)
    before = field(typing).input_value()
    at = before.index("from")
    field(typing).click()
    field(typing).evaluate("(field, at) => field.setSelectionRange(at, at)", at)
    more = "never forgotten, "
    type_slowly(typing, TYPED + more)
    # Sent twice and more while one went on: each letter stands where the caret was.
    assert field(typing).input_value() == before[:at] + TYPED + more + before[at:]
    caret = "field => [field.selectionStart, document.activeElement === field]"
    assert field(typing).evaluate(caret) == [at + len(TYPED + more), True]
    assert "1 unsaved change" in kept(typing)
    asked: list[str] = []
    typing.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    typing.keyboard.type("to the last word. ")
    typing.evaluate("setTimeout(() => location.reload())")
    wait_for(typing, lambda: asked == ["beforeunload"])  # on its way: the browser asks
    wanted = before[:at] + TYPED + more + "to the last word. " + before[at:]
    wait_for(typing, lambda: wanted in drafts(ctx))
    settle(typing)
    typing.evaluate("setTimeout(() => location.reload())")
    expect(typing.get_by_text("You have 1 unsaved change from today")).to_be_visible()
    assert len(asked) == 1  # all of it was on the server: nothing to ask
    first.close()  # as a laptop that is closed: nothing was saved, and the field never left

    sign_in(page, desk.url, "ada", PASSWORD)
    expect(page.get_by_text("Signed in as")).to_be_visible()
    settle(page)
    page.goto(desk.url + BASICS)
    settle(page)
    expect(page.get_by_text("You have 1 unsaved change from today")).to_be_visible()
    page.get_by_role("button", name="Continue").click()
    settle(page)
    expect(field(page)).to_have_value(wanted)
    click(page, "kb_save")
    expect(page.locator(".st-key-kb_unsaved")).to_have_count(0)
    stored = entries.page(ctx, system_actor(), "/color_matching/basics").entries[0]
    assert stored.body == wanted
    assert drafts(ctx) == []
    ctx.close()
