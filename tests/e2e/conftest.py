"""A real desk process and a real Chromium."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from services.core.settings import PROJECT_ROOT, Settings
from tests.e2e import shop

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)
PATIENCE_MS = 30_000
OUTPUT = PROJECT_ROOT / "test-output"
expect.set_options(timeout=PATIENCE_MS)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_CHROME = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in this very hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests run one after another: they share the machine's two cores."""
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group("browser"))


def browser_path() -> str | None:
    """A browser of this machine, or None."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    return found or (MAC_CHROME if Path(MAC_CHROME).exists() else None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = browser_path()
    if path is None:
        message = "no Chromium or Chrome on this machine: the browser tests did NOT run"
        if os.environ.get("DESK_TESTS_NEED_BROWSER"):
            pytest.fail(message)
        pytest.skip(f"left out: {message}")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Leave a picture of what the browser showed when a test failed."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.when == "call" and report.failed and isinstance(page, Page):
        OUTPUT.mkdir(exist_ok=True)
        page.screenshot(path=OUTPUT / f"{item.name}.png", full_page=True)
    return report


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh browser profile at desktop size, in a fixed zone and language."""
    with_context = new_context(browser)
    page = with_context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    with_context.close()


def new_context(browser: Browser, **options: Any) -> Any:
    """A browser profile of its own: cookies are not shared with others."""
    defaults = {
        "viewport": {"width": 1280, "height": 900},
        "timezone_id": "Europe/Berlin",
        "locale": "en-GB",
    }
    return browser.new_context(**{**defaults, **options})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Desk:
    """A desk started as `make run` starts it."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.console = ""
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        clean = {
            name: value
            for name, value in os.environ.items()
            if name.lower() not in Settings.model_fields
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.desk", "--port", str(self.port)],
            cwd=PROJECT_ROOT,
            env={
                **clean,
                "DESK_HOME": str(self.home),
                "PYTHONUNBUFFERED": "1",
                **self._environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        wait_until(self._healthy, 60, lambda: f"the desk did not start:\n{self.console}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def setup_code(self) -> str:
        found = re.search(r"[Ss]etup code:?\s+(\S+)", self.console)
        assert found, self.console
        return found.group(1)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.console += line

    def _healthy(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail(f"the desk ended with {self._process.returncode}:\n{self.console}")
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def wait_until(true: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> None:
    """Poll until it is so; fail with what `otherwise` says."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(otherwise())
        time.sleep(0.1)


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """Start desks that end with the test: `make_desk(SHOP_ROOT=..., ...)`."""
    desks: list[Desk] = []

    def make(**environment: str) -> Desk:
        desk = Desk(tmp_path / f"desk{len(desks)}", environment)
        desks.append(desk)
        desk.start()
        return desk

    yield make
    for desk in desks:
        desk.stop()


@pytest.fixture(scope="session")
def shop_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop that tests begin with, made once; it is copied, never used."""
    return shop.make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def shop_root(tmp_path: Path, shop_template: Path) -> Path:
    """A shop of the test's own."""
    return Path(shutil.copytree(shop_template, tmp_path / "shop"))


def settle(page: Page) -> None:
    """Wait until Streamlit has finished its run and painted it."""
    page.wait_for_selector(
        "[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE_MS
    )
    page.wait_for_timeout(150)
    page.wait_for_selector(
        "[data-testid=stApp][data-test-script-state=notRunning]", timeout=PATIENCE_MS
    )


def click(page: Page, key: str) -> None:
    """Press the button with this key and wait for what it does."""
    page.locator(f".st-key-{key} button").first.click()
    settle(page)


def fill(page: Page, key: str, text: str) -> None:
    """Type into the text field with this key and leave it."""
    field = page.locator(f".st-key-{key} input, .st-key-{key} textarea").first
    field.fill(text)
    field.press("Tab")
    settle(page)
