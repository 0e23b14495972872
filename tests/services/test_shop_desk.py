"""Starting the desk, as a real process: what `make run` does."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services import desk, sample
from services.core import jobs
from services.core.context import open_context
from services.core.errors import Misconfigured
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT, Settings
from services.protection.model import PROTECTION_LOCK
from services.shop.sample_state import Stage, is_sample, load_marker, marker_path
from tests.shops import build_shop


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A desk process and what it has printed so far."""

    def __init__(self, cwd: Path, home: Path, port: int, **variables: str) -> None:
        plain = {k: v for k, v in os.environ.items() if k.lower() not in Settings.model_fields}
        self.port = port
        self.console = ""
        self._running = subprocess.Popen(
            [sys.executable, str(PROJECT_ROOT / "services" / "desk.py"), "--port", str(port)],
            cwd=cwd,
            env={**plain, "DESK_HOME": str(home), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._running.stdout is not None
        for line in self._running.stdout:
            self.console += line

    def until(self, true: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert self._running.poll() is None, self.console
            assert time.monotonic() < deadline, self.console
            time.sleep(0.1)

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/_stcore/health", timeout=2
            ) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def end(self, how: signal.Signals | None = None) -> int:
        if how is not None:
            self._running.send_signal(how)
        code = self._running.wait(timeout=30)
        self._reader.join(timeout=5)
        return code

    def kill(self) -> None:
        if self._running.poll() is None:
            self._running.kill()
            self._running.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start desks from a folder that is not the project's."""
    started: list[Process] = []

    def begin(*, home: str = "desk", port: int = 0, **variables: str) -> Process:
        process = Process(tmp_path, tmp_path / home, port or free_port(), **variables)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()


def test_a_first_start_builds_the_sample_prints_address_and_code_and_serves(start, tmp_path):
    process = start()
    process.until(process.healthy)
    assert f"http://127.0.0.1:{process.port}" in process.console
    assert "sample data" in process.console
    code = (tmp_path / "desk" / "instance" / "setup-code").read_text().strip()
    assert re.search(rf"Setup code +{code}\n", process.console)
    assert (tmp_path / "desk" / "instance" / "insightshop.db").is_file()
    assert process.end(signal.SIGINT) == 0, process.console
    assert "Traceback" not in process.console


def test_a_second_start_builds_nothing_and_shows_the_same_code(start, tmp_path):
    build_shop(tmp_path / "desk" / "instance" / "insightshop.db")
    first = start()
    first.until(first.healthy)
    first.end(signal.SIGTERM)
    second = start()
    second.until(second.healthy)
    for process in (first, second):
        assert "sample" not in process.console
    codes = [re.findall(r"Setup code +(\S+)", p.console) for p in (first, second)]
    assert codes[0] == codes[1] and len(codes[0]) == 1


def test_a_wrong_setting_ends_with_its_name_what_it_holds_and_what_it_may_hold(start, tmp_path):
    process = start(APP_ENV="produktion")
    assert process.end() == 3
    assert "APP_ENV holds 'produktion'" in process.console
    assert "'production'" in process.console and "Traceback" not in process.console
    assert not (tmp_path / "desk").exists()


def test_a_port_in_use_is_said_before_anything_is_made(start, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start(port=taken.getsockname()[1])
        assert process.end() == 3
    assert "is in use" in process.console and "make run PORT=" in process.console
    assert not (tmp_path / "desk").exists()


@pytest.mark.parametrize("secret", ["DESK_SECRET_KEY", "DESK_SETUP_CODE"])
def test_production_refuses_secrets_that_can_be_guessed_and_does_not_repeat_them(start, secret):
    process = start(APP_ENV="production", **{secret: "change-me-change-me-change-me-change-me"})
    assert process.end() == 3
    assert secret in process.console and "change-me" not in process.console


def test_a_named_shop_that_is_missing_is_said_and_the_desk_opens_all_the_same(start, tmp_path):
    process = start(SHOP_ROOT=str(tmp_path / "gone"))
    process.until(process.healthy)
    assert "There is no shop database" in process.console
    assert not (tmp_path / "gone").exists()


def test_a_damaged_shop_is_said_and_the_desk_opens_all_the_same(start, tmp_path):
    path = tmp_path / "shop" / "instance" / "insightshop.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    before = path.read_bytes()
    process = start(SHOP_ROOT=str(tmp_path / "shop"))
    process.until(process.healthy)
    assert "not attached" in process.console and "Traceback" not in process.console
    assert path.read_bytes() == before


def test_a_home_that_cannot_be_written_is_said_with_what_to_do(start, tmp_path):
    (tmp_path / "desk").write_text("a file")
    process = start()
    assert process.end() == 3
    assert "can't write to its folder" in process.console and "DESK_HOME" in process.console


def test_relative_folders_start_at_the_desk_and_not_where_the_command_was_typed(tmp_path):
    settings = load_settings(
        env_file=tmp_path / "no.env",
        desk_home=tmp_path,
        shop_root="shop",
        backup_temp_dir="scratch",
    )
    assert settings.shop_dir == tmp_path / "shop"
    assert settings.temp_dir == tmp_path / "scratch"
    home = load_settings(env_file=tmp_path / "no.env", desk_home="elsewhere").desk_home
    assert home == PROJECT_ROOT / "elsewhere"


@pytest.mark.parametrize("step", ["Putting", "Adding"])
def test_a_start_finishes_a_sample_that_was_killed_while_it_was_built(tmp_path, admin, step):
    ctx = open_context(load_settings(env_file=tmp_path / "no.env", desk_home=tmp_path / "desk"))

    def kill(text: str, _fraction: float | None) -> None:
        if text.startswith(step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample.build(ctx, admin, watcher=kill)
    desk.prepare(ctx)
    marker = load_marker(marker_path(ctx.settings))
    assert marker is not None and marker.stage is Stage.READY
    assert is_sample(ctx)
    ctx.close()


def old(path: Path) -> Path:
    if not path.suffix:
        path.mkdir(parents=True)
        old(path / "inner.x")
    else:
        path.write_text("left over")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


def test_the_sweep_takes_old_scratch_alone_and_nothing_while_a_job_is_at_work(ctx, admin):
    ctx.settings.temp_dir.mkdir(parents=True)
    old(ctx.settings.temp_dir / "restore-dead")
    old(ctx.settings.temp_dir / "file.zst")
    fresh = ctx.settings.temp_dir / "fresh"
    fresh.mkdir()
    old(fresh / "inner.x")
    (fresh / "new.x").write_text("at work")
    job = jobs.create(ctx, admin, "backup", lock=PROTECTION_LOCK)
    assert desk.sweep(ctx) == []
    jobs.run(ctx, job, lambda _handle: {})
    assert desk.sweep(ctx) == ["file.zst", "restore-dead"]
    assert [path.name for path in ctx.settings.temp_dir.iterdir()] == ["fresh"]


def test_the_sweep_leaves_a_scratch_folder_alone_that_others_may_use(ctx, tmp_path):
    shared = ctx.settings.model_copy(update={"backup_temp_dir": tmp_path / "shared"})
    kept = old(tmp_path / "shared" / "theirs")
    assert desk.sweep(type(ctx)(shared, ctx.control, ctx.shop)) == []
    assert kept.is_dir()


def test_an_address_that_is_not_this_machines_is_said():
    with pytest.raises(Misconfigured, match="can't listen"):
        desk.require_free("192.0.2.1", free_port())
