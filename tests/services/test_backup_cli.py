"""The headless door: `python services/backup.py` as cron, a terminal and a machine see it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from services import backup
from services.core import jobs
from services.core.context import open_context
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from tests.doors import run_door
from tests.shops import build_shop

FILE = [sys.executable, str(PROJECT_ROOT / "services" / "backup.py")]
MODULE = [sys.executable, "-m", "services.backup"]


def _run(ctx, *arguments: str, cwd: Path | None = None, **environment: str):
    cwd = cwd or ctx.settings.desk_home
    return run_door(ctx, "services.backup", *arguments, cwd=cwd, more=environment)


@pytest.mark.parametrize(("command", "cwd"), [(FILE, Path("/")), (MODULE, PROJECT_ROOT)])
def test_cron_gets_exit_code_0_silence_and_a_backup(ctx, shop, operator, command, cwd):
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **ctx.settings.as_environment()},
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    row = backup.snapshots(ctx, operator).rows[0]
    assert row.reason == "scheduled" and row.read_back_at


def test_a_machine_gets_one_json_object_as_the_last_line(ctx, shop):
    done = _run(ctx, "--json", "--reason", "before the sale")
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    answer = json.loads(line)
    assert answer["state"] == "succeeded" and answer["exit_code"] == 0
    assert answer["seconds"] > 0 and answer["job"]
    database = answer["components"]["database.sqlite3.zst"]
    assert database["plain_bytes"] == shop.stat().st_size and len(database["sha256"]) == 64
    listed = json.loads(_run(ctx, "--list", "--json").stdout)
    assert [row["id"] for row in listed["snapshots"]] == [answer["snapshot"]]
    assert listed["snapshots"][0]["reason"] == "before the sale"


def test_a_terminal_gets_a_bar_and_a_sentence(ctx, shop):
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        FILE,
        env={**os.environ, **ctx.settings.as_environment()},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    try:
        while piece := os.read(leader, 4096):
            shown += piece
    except OSError:
        pass  # Linux says so when the other side is closed
    os.close(leader)
    assert process.wait() == 0
    assert b"Packing and sending the shop's database" in shown and b"%" in shown
    assert b"is stored and was read back in full." in shown


def test_verify_and_list_for_a_person(ctx, shop):
    assert _run(ctx).returncode == 0
    listed = _run(ctx, "--list")
    assert listed.returncode == 0 and "read back" in listed.stdout
    done = _run(ctx, "--verify", "latest")
    assert done.returncode == 0 and "is whole" in done.stdout


def test_verify_of_a_damaged_snapshot_fails_and_says_which_object(ctx, shop):
    snapshot = json.loads(_run(ctx, "--json").stdout)["snapshot"]
    folder = Path(ctx.settings.store_url.removeprefix("file:"))
    (folder / f"data/default/{snapshot}/database.sqlite3.zst").unlink()
    done = _run(ctx, "--verify", snapshot, "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == answer["exit_code"] == 1
    assert "database.sqlite3.zst is missing" in answer["error"]


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "said"),
    [
        (["--nonsense"], {}, 3, "unrecognized arguments"),
        (["--list", "--verify", "x"], {}, 3, "not allowed with"),
        (["--verify", "20200101T000000Z-aaaa"], {}, 1, "There is no snapshot"),
        (["--job", "no-such-job"], {}, 1, "There is no job"),
        ([], {"DB_PATH": "/nowhere/shop.db"}, 3, "There is no database at /nowhere/shop.db"),
        ([], {"INSTANCE_ID": "a/b"}, 3, "INSTANCE_ID"),
        ([], {"BACKUP_STORE_URL": "file:/nowhere/at/all"}, 3, "/nowhere/at/all"),
        (
            [],
            {
                "BACKUP_STORE_URL": "s3://bucket",
                "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
                "AWS_ACCESS_KEY_ID": "KEYKEYKEY",
                "AWS_SECRET_ACCESS_KEY": "hunter2hunter2",
            },
            2,
            "s3://bucket",
        ),
    ],
)
def test_every_failure_has_its_exit_code_and_a_sentence(
    ctx, shop, arguments, environment, code, said
):
    done = _run(ctx, *arguments, **environment)
    assert done.returncode == code
    assert said in done.stderr and "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert done.stdout == ""


def test_a_failure_is_one_json_object_too(ctx, shop):
    shop.write_bytes(b"")
    done = _run(ctx, "--json")
    (line,) = done.stdout.splitlines()
    answer = json.loads(line)
    assert done.returncode == answer["exit_code"] == 1
    assert answer["state"] == "failed" and "0 bytes" in answer["error"] and answer["hint"]


def test_overlapping_runs_refuse_with_exit_code_1(ctx, shop, operator):
    jobs.create(ctx, operator, "backup", lock=backup.LOCK)
    done = _run(ctx, "--json")
    assert done.returncode == 1
    assert "A backup is running since" in json.loads(done.stdout)["error"]


def test_unicode_and_spaces_in_every_path_are_no_trouble(tmp_path, operator):
    home = tmp_path / "Läden & Söhne #1"
    settings = load_settings(
        env_file=tmp_path / "none.env",
        desk_home=home / "desk",
        shop_root=home / "shop",
        backup_store_url=f"file:{home / 'store'}",
    )
    (home / "store").mkdir(parents=True)
    ctx = open_context(settings)
    build_shop(settings.shop_sqlite_path)
    (settings.images_dir / "grün").mkdir(parents=True)
    (settings.images_dir / "grün" / "kleid 🙂.png").write_bytes(b"x")
    try:
        assert _run(ctx, cwd=home).returncode == 0
        assert _run(ctx, "--verify", "latest").returncode == 0
        assert backup.snapshots(ctx, operator).total == 1
    finally:
        ctx.close()


def test_the_door_starts_without_anything_heavy():
    code = (
        "import sys; import services.backup;"
        "heavy = {'chromadb', 'boto3', 'botocore', 'alembic', 'pandas', 'numpy', 'pyarrow',"
        "'streamlit', 'plotly', 'zstandard'} & set(sys.modules);"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
