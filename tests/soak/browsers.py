"""People in real browsers at the same section at once; each notes what they saw and saved."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from playwright.sync_api import Locator, Page, TimeoutError, expect, sync_playwright

from tests.e2e.conftest import (
    ARGUMENTS,
    OUTPUT,
    PATIENCE_MS,
    browser_path,
    click,
    new_context,
    settle,
)
from tests.e2e.test_story import sign_in
from tests.soak.editors import FIELDS, SECTION, Books

PASSWORD = "a quiet lake at dawn"
GRID = ".st-key-kb_wide [data-testid=stDataFrame]"
_FIRST_ROWS = 6
"""Few entries that all like, so that the same cells are meant again and again."""
_ROW, _HEAD, _KEY_AT = 33, 37, 130
_LONG = 120

# A confirmation is on the page for seconds: each is noted once, as it comes.
_LISTEN = """
window.__told = [];
new MutationObserver(changes => changes.forEach(change => change.addedNodes.forEach(node => {
  if (!node.querySelectorAll) return;
  const found = [...node.querySelectorAll('[data-testid=stToast]')];
  if (node.matches('[data-testid=stToast]')) found.push(node);
  found.forEach(one => window.__told.push(one.innerText));
}))).observe(document, {childList: true, subtree: true});
"""
# What a difference says now: without what is struck through, and without its signs.
_SAYS = """box => {
  const copy = box.cloneNode(true);
  copy.querySelectorAll('del').forEach(one => one.remove());
  return copy.textContent.replaceAll('↵\\n', '\\n');
}"""


@dataclass(frozen=True)
class Typed:
    """What a person means to happen to a cell, or to an entry."""

    key: str
    name: str  # of the cell; empty for a deletion
    seen: str | None  # what the page said when it was typed; None where nothing was there
    text: str


@dataclass
class BrowserEditor(threading.Thread):
    """One person with a browser of their own."""

    url: str
    username: str
    number: int
    seconds: float
    begin: threading.Barrier  # when all are at the section
    saved: list[tuple[str, list[Typed]]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(name=self.username)
        self._chance = random.Random(self.number)
        self._turn = 0
        self._meant: list[Typed] = []

    def __hash__(self) -> int:
        return hash(self.name)

    def run(self) -> None:
        """Sign in and edit until the time is up."""
        try:
            with self._opened() as page:
                self.begin.wait(120)
                until = time.monotonic() + self.seconds
                while time.monotonic() < until:
                    self._turn += 1
                    self._edit(page)
        except BaseException as error:
            self.failure = error
            self.begin.abort()  # nobody waits for somebody who can't come

    @contextmanager
    def _opened(self) -> Iterator[Page]:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(
                executable_path=browser_path(), args=list(ARGUMENTS)
            )
            page = new_context(chromium).new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.add_init_script(_LISTEN)
            sign_in(page, self.url, self.username, PASSWORD)
            expect(page.get_by_text("Signed in as")).to_be_visible()
            settle(page)
            page.goto(f"{self.url}/knowledge?section={SECTION.strip('/')}")
            page.locator(f"{GRID} canvas").first.wait_for()
            settle(page)
            try:
                yield page
            except BaseException:
                OUTPUT.mkdir(exist_ok=True)
                page.screenshot(path=OUTPUT / f"soak-{self.username}.png", full_page=True)
                raise
            finally:
                chromium.close()

    def _edit(self, page: Page) -> None:
        self._meant = []
        does = self._chance.random()
        if does < 0.14:
            self._add(page)
        elif does < 0.26:
            self._remove(page)
        elif does < 0.62:
            self._write_in_grid(page)
        else:
            self._write_in_panel(page)
        if self._meant:
            self._save(page)

    def _new_text(self, seen: str, name: str) -> str:
        """Either other words, or more of them: two who add to a text can both be kept."""
        mine = f"{self.username} {self._turn} {name}"
        if len(seen) > _LONG or self._chance.random() < 0.4:
            return mine
        return f"{mine}. {seen}" if self._chance.random() < 0.5 else f"{seen} {mine}."

    def _write_in_grid(self, page: Page) -> None:
        rows = min(page.locator(f"{GRID} [data-testid^='glide-cell-1-']").count(), _FIRST_ROWS)
        if not rows:
            self.counts["the grid was not drawn yet"] += 1
            return
        for _cell in range(self._chance.randint(1, 2)):
            row, column = self._chance.randrange(rows), self._chance.randrange(len(FIELDS))
            editor = self._open_cell(page, row, column)
            if editor is None:
                self.counts["cells that did not open"] += 1
                continue
            key = page.get_by_test_id(f"glide-cell-1-{row}").inner_text().strip()
            seen = editor.input_value()
            text = self._new_text(seen, FIELDS[column])
            editor.fill(text)
            page.keyboard.press("Enter")
            page.locator(".st-key-kb_unsaved").wait_for()
            settle(page)
            self._mean(Typed(key, FIELDS[column], seen, text))
            self.counts["cells typed in the grid"] += 1

    def _open_cell(self, page: Page, row: int, column: int) -> Locator | None:
        box = page.locator(f"{GRID} canvas").first.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + _KEY_AT, box["y"] + _HEAD + _ROW * row + _ROW / 2)
        for _step in range(column + 1):
            page.keyboard.press("ArrowRight")
        editor = page.locator("#portal textarea, #portal input").first
        try:
            # A key that is pressed too early is lost, and another cell would open: look first.
            selected = f"[data-testid='glide-cell-{column + 2}-{row}'][aria-selected=true]"
            page.locator(selected).wait_for(state="attached", timeout=2_000)
            page.keyboard.press("Enter")
            editor.wait_for(timeout=2_000)
        except TimeoutError:
            page.keyboard.press("Escape")
            return None
        return editor

    def _mean(self, one: Typed) -> None:
        """The first that was seen counts: the page shows a person their own words after."""
        for index, other in enumerate(self._meant):
            if (other.key, other.name) == (one.key, one.name):
                self._meant[index] = replace(other, text=one.text)
                return
        self._meant.append(one)

    def _open_entry(self, page: Page) -> str:
        """Open one of the first entries in full; gives its key."""
        page.locator(".st-key-kb_open input").click()
        options = page.get_by_role("option")
        options.first.wait_for()
        at = self._chance.randrange(min(options.count(), _FIRST_ROWS))
        options.nth(at).click()
        page.locator(".st-key-kb_panel").wait_for()
        settle(page)
        return self._panel(page, "kb_key_").input_value()

    def _panel(self, page: Page, key: str) -> Locator:
        return page.locator(
            f".st-key-kb_panel [class*='st-key-{key}'] input, "
            f".st-key-kb_panel [class*='st-key-{key}'] textarea"
        ).first

    def _cell(self, page: Page, name: str) -> Locator:
        found = f".st-key-kb_panel [class*='st-key-kb_cell_'][class*='_{name}_'] textarea"
        return page.locator(found).first

    def _write(self, page: Page, cell: Locator, text: str) -> None:
        cell.fill(text)
        cell.press("Tab")
        settle(page)

    def _write_in_panel(self, page: Page) -> None:
        key = self._open_entry(page)
        for name in self._chance.sample(FIELDS, self._chance.randint(1, 2)):
            seen = self._cell(page, name).input_value()
            text = self._new_text(seen, name)
            self._write(page, self._cell(page, name), text)
            self._mean(Typed(key, name, seen, text))
            self.counts["cells typed in the panel"] += 1

    def _add(self, page: Page) -> None:
        click(page, "kb_add")
        page.locator(".st-key-kb_panel").wait_for()
        key = f"{self.username}_{self._turn}"
        self._write(page, self._panel(page, "kb_key_"), key)
        for name in FIELDS:
            text = f"{key} {name}"
            self._write(page, self._cell(page, name), text)
            self._meant.append(Typed(key, name, None, text))

    def _remove(self, page: Page) -> None:
        if page.locator(f"{GRID} [data-testid^='glide-cell-1-']").count() < _FIRST_ROWS:
            self._add(page)
            return
        key = self._open_entry(page)
        page.locator(".st-key-kb_panel [class*='st-key-kb_delete_'] button").click()
        page.get_by_text("This entry is deleted when you save.").wait_for()
        settle(page)
        self._meant.append(Typed(key, "", None, ""))

    def _save(self, page: Page) -> None:
        # What others save while this person reads it over is what clashes are made of.
        page.wait_for_timeout(self._chance.random() * 1_200)
        reason = f"{self.username} {self._turn}"
        for _try in range(6):
            if not page.locator(".st-key-kb_unsaved").count():
                self.counts["given up: theirs in every place"] += 1
                return
            self._give_reason(page, reason)
            told = len(page.evaluate("window.__told"))
            page.locator(".st-key-kb_save button").click()
            came = self._outcome(page, told)
            if came == "saved":
                self.saved.append((reason, self._meant))
                return
            if came == "nothing":
                self.counts["nothing left to save"] += 1
                return
            if came == "clash":
                self.counts["clashes"] += 1
                self._settle_clashes(page)
                continue
            self.counts["refused"] += 1
            break
        click(page, "kb_discard")

    def _give_reason(self, page: Page, reason: str) -> None:
        box = page.locator(".st-key-kb_unsaved [class*='st-key-kb_reason_'] input")
        if box.input_value() != reason:
            box.fill(reason)
            box.press("Tab")
            settle(page)

    def _outcome(self, page: Page, told: int) -> str:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            settle(page)
            if not page.locator(".st-key-kb_unsaved").count():
                # The same words twice are one note that stays: the bar that is gone says it.
                said = "\n".join(page.evaluate(f"window.__told.slice({told})"))
                return "nothing" if "Nothing to save" in said else "saved"
            if page.locator(".st-key-kb_clash_0").count():
                return "clash"
            if page.locator(".st-key-kb_unsaved [data-testid=stAlert]").count():
                return "refused"
            page.wait_for_timeout(100)
        raise AssertionError(f"{self.username} was told nothing of a save")

    def _settle_clashes(self, page: Page) -> None:
        for _clash in range(20):
            box = page.locator(".st-key-kb_clash_0")
            if not box.count():
                return
            self._settle_one(page, box)
        raise AssertionError("the clashes never end")

    def _settle_one(self, page: Page, box: Locator) -> None:
        theirs = box.locator("[class*='_theirs'] button")
        mine = box.locator("[class*='_mine'] button")
        merged = box.locator(".st-key-kb_clash_0_merged button")
        columns = box.get_by_test_id("stColumn")
        if not columns.count():  # an entry that one of them deleted
            self._settle_deleted(page, box, theirs, mine)
            return
        their_text, my_text = (self._says(columns.nth(at)) for at in (1, 2))
        one = next(typed for typed in self._meant if typed.text == my_text)
        others = [typed for typed in self._meant if typed is not one]
        does = self._chance.choice(["theirs", "mine", "merged" if merged.count() else "mine"])
        if does == "theirs":
            self._meant = others
            theirs.click()
        elif does == "mine":
            self._meant = [*others, replace(one, seen=their_text)]
            mine.click()
        else:
            text = box.locator("[class*='st-key-kb_merged_'] textarea").input_value()
            self._meant = [*others, replace(one, seen=their_text, text=text)]
            merged.click()
        self.counts[f"clashes settled: {does}"] += 1
        settle(page)

    def _says(self, column: Locator) -> str:
        text = column.get_by_test_id("stHtml").first.evaluate(_SAYS)
        return "" if text == "(empty)" else str(text)

    def _settle_deleted(self, page: Page, box: Locator, theirs: Locator, mine: Locator) -> None:
        keep = self._chance.random() < 0.5
        told = box.inner_text()
        keys = {typed.key for typed in self._meant if typed.key in told}
        assert len(keys) == 1, f"{told} names one of {self._meant}"
        others = [typed for typed in self._meant if typed.key not in keys]
        was_mine = any(typed.key in keys and not typed.name for typed in self._meant)
        if not keep:
            self._meant = others
            theirs.click()
        else:
            if not was_mine:  # another entry comes, of what this person had
                made = [replace(one, seen=None) for one in self._meant if one.key in keys]
                self._meant = [*others, *made]
            mine.click()
        self.counts["clashes settled: " + ("mine" if keep else "theirs")] += 1
        settle(page)


def edit_in_browsers(url: str, usernames: list[str], seconds: float) -> list[BrowserEditor]:
    """Let people edit in browsers for so long; gives them when all have stopped."""
    begin = threading.Barrier(len(usernames))
    people = [BrowserEditor(url, name, n, seconds, begin) for n, name in enumerate(usernames, 1)]
    for one in people:
        one.start()
    for one in people:
        one.join(seconds + 300)
        assert not one.is_alive(), f"the browser of {one.name} hangs"
    failures = [one.failure for one in people if one.failure is not None]
    failures.sort(key=lambda error: isinstance(error, threading.BrokenBarrierError))
    if failures:
        raise failures[0]
    return people


def settle_browsers(books: Books, people: list[BrowserEditor]) -> Counter[str]:
    """Every save that a browser was told of is in the history once, as it was typed.

    Nothing else is there under their names: no cell that nobody typed, no row beside it.
    """
    counted = books.counted()
    acknowledged = {reason: meant for one in people for reason, meant in one.saved}
    by_reason = {row.reason: row for row in books.sets if row.author in {p.name for p in people}}
    mine = [row for row in books.sets if row.author in {p.name for p in people}]
    assert len(mine) == len(by_reason), "no save is there twice"
    assert by_reason.keys() == acknowledged.keys(), "exactly what was acknowledged is there"
    for one in people:
        counted += one.counts
    for reason, meant in acknowledged.items():
        counted["saves acknowledged"] += 1
        rows = books.by_set[by_reason[reason].id].values()
        wanted = {(typed.key, typed.name): typed for typed in meant}
        written = {}
        for row in rows:
            key = (row.after or row.before)["key"]
            if row.after is None:
                written[(key, "")] = (None, "")
                continue
            before = row.before["body"] if row.before else {}
            for name, text in row.after["body"].items():
                # One's own that is kept as a new entry has the other cells as they were.
                if before.get(name, "") != text and (row.before or (key, name) in wanted):
                    written[(key, name)] = (_seen(row, name), text)
        typed_so = {place: (typed.seen, typed.text) for place, typed in wanted.items()}
        assert written == typed_so, f"{reason}: {written} was written, {typed_so} was typed"
        counted["cells written"] += sum(1 for _key, name in written if name)
        counted["entries deleted"] += sum(1 for _key, name in written if not name)
    return counted


def _seen(row: Any, name: str) -> str | None:
    return str(row.before["body"].get(name, "")) if row.before else None
