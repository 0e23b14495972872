"""The README's way to get data back without this program, executed as it is printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from services import backup, sample
from services.core.context import open_context
from services.core.settings import PROJECT_ROOT, load_settings
from services.protection.rescue.execute import SAFETY
from services.shop.sample.fashion_kb import FASHION_KNOWLEDGE_BASE

TOOLS = ("sh", "zstd", "sqlite3", "tar", "python3")


def printed_commands() -> str:
    text = (PROJECT_ROOT / "README.md").read_text("utf-8")
    found = re.search(r"<!-- recover -->\n```sh\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_the_readmes_commands_bring_everything_back_without_this_program(tmp_path, admin):
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        message = f"not on this machine: {', '.join(missing)}; recovery was NOT tried"
        if os.environ.get("DESK_TESTS_NEED_TOOLS"):
            pytest.fail(message)
        pytest.skip(f"left out: {message}")
    ctx = open_context(load_settings(env_file=tmp_path / "no.env", desk_home=tmp_path / "desk"))
    sample.build(ctx, admin)
    backup.run(ctx, admin, "manual")
    home, target = tmp_path / "desk", tmp_path / "target"
    good = dump(home / "instance/insightshop.db")
    # The newest of several is taken, and not what a restore set aside: that is the damage.
    with closing(sqlite3.connect(home / "instance/insightshop.db")) as database, database:
        database.execute("DELETE FROM orders")
    backup.run(ctx, admin, SAFETY)
    target.mkdir()
    done = subprocess.run(
        ["sh", "-eu", "-c", printed_commands()],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "STORE": str(home / "instance" / "backups"),
            "INSTANCE": "default",
            "TARGET": str(target),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("equal ") == 6 and "NOT EQUAL" not in done.stdout
    assert "ok\n300\n" in done.stdout
    assert dump(target / "instance" / "insightshop.db") == good
    for folder in ("vector_db", "generated_images"):
        live = {p.relative_to(home) for p in (home / folder).rglob("*") if p.is_file()}
        back = {p.relative_to(target) for p in (target / folder).rglob("*") if p.is_file()}
        assert live == back and live
    for picture in (home / "generated_images").iterdir():
        recovered = target / "generated_images" / picture.name
        assert recovered.read_bytes() == picture.read_bytes()
    assert json.loads((target / "knowledge.json").read_text()) == FASHION_KNOWLEDGE_BASE
    ctx.close()
