"""docs/recovery.md, executed as it is printed: with the program, and without it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from services import backup, sample
from services.core.access import command_line_actor
from services.core.context import Context, open_context
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT
from services.people import accounts
from services.protection.rescue.execute import SAFETY
from services.protection.sources import postgres
from services.shop.sample.fashion_kb import FASHION_KNOWLEDGE_BASE
from tests.faults.scene import tree
from tests.services.lost import PASSWORD
from tests.services.postgres_desk import desk_on

TEXT = (PROJECT_ROOT / "docs" / "recovery.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"<!-- run: (.+?) -->\n```sh\n(.*?)```", TEXT, re.DOTALL))
TOOLS = ("bash", "zstd", "sqlite3", "tar", "python3", "age", "openssl", "sha256sum")

GUIDED = ["variables", "list", "plan", "recover", "afterwards"]
BY_HAND = ["choose", "check", "gather", "database", "vectors", "pictures", "knowledge", "control"]
ELSEWHERE = {"older", "fetch with aws", "fetch with rclone", "signature", "postgres"}


@dataclass(frozen=True)
class Night:
    """A shop that is lost, its store, and a scratch folder with the repository in it."""

    ctx: Context
    folder: Path
    variables: dict[str, str]
    good: list[str]  # the shop's database as SQL
    snapshot: str

    def sh(self, *names: str, **more: str) -> str:
        """Run these blocks one after the other, as somebody types them; gives what is shown."""
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", "\n".join(BLOCKS[name] for name in names)],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def equals(self, shop: Path, *, vectors: str = "vector_db") -> bool:
        """Whether a folder holds the shop that was lost."""
        live = self.ctx.settings.desk_home
        pictures = tree(shop / "generated_images") == tree(live / "generated_images")
        names = tree(shop / vectors).keys() == tree(live / "vector_db").keys()
        return dump(shop / "instance" / "insightshop.db") == self.good and pictures and names


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.fixture(autouse=True)
def _tools():
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        message = f"not on this machine: {', '.join(missing)}; recovery was NOT tried"
        if os.environ.get("DESK_TESTS_NEED_TOOLS"):
            pytest.fail(message)
        pytest.skip(f"left out: {message}")


@pytest.fixture(params=["a folder", "a bucket, encrypted and signed"])
def night(request, tmp_path, admin, cheap_bcrypt):
    """The sample shop, backed up by the program itself, and what a new machine has."""
    overrides, variables = {}, {}
    (tmp_path / "store").mkdir()
    source = f"file:{tmp_path / 'store'}"
    if request.param != "a folder":
        server = request.getfixturevalue("rclone_server")
        identity = tmp_path / "identity.txt"
        made = subprocess.run(
            ["age-keygen", "-o", str(identity)], capture_output=True, text=True, check=True
        )
        overrides = server.settings(server.make_bucket(), "desk")
        source = overrides.pop("backup_store_url")
        variables = {name.upper(): value for name, value in overrides.items()}
        variables |= {"BACKUP_AGE_IDENTITY_FILE": str(identity), "BACKUP_SIGNING_KEY": "k" * 40}
        overrides |= {
            "backup_age_recipients": made.stderr.split()[-1],
            "backup_signing_key": "k" * 40,
        }
    overrides["backup_store_url"] = source
    variables |= {"FROM": source, "SHOP_ROOT": str(tmp_path / "shop")}
    ctx = open_context(
        load_settings(env_file=tmp_path / "no.env", desk_home=tmp_path / "old", **overrides)
    )
    sample.build(ctx, admin)
    accounts.create(ctx, command_line_actor(), "ada", "Ada", "admin", password=PASSWORD)
    snapshot = backup.run(ctx, admin, "manual").result["snapshot"]
    database = ctx.settings.shop_sqlite_path
    good = dump(database)
    folder = tmp_path / "scratch"
    folder.mkdir()
    (folder / ".venv").symlink_to(Path(sys.prefix))
    (folder / "services").symlink_to(PROJECT_ROOT / "services")
    variables["DESK_HOME"] = str(folder)
    lines = [f"{name}={value}" for name, value in variables.items()]
    (folder / "recovery.env").write_text("\n".join(lines) + "\n")
    yield Night(ctx, folder, variables, good, snapshot)
    ctx.close()


def set_aside_damage(night: Night, actor) -> None:
    """What a restore set aside is newer, and is not what anybody wants back."""
    with closing(sqlite3.connect(night.ctx.settings.shop_sqlite_path)) as database, database:
        database.execute("DELETE FROM orders")
    backup.run(night.ctx, actor, SAFETY)


def test_the_steps_bring_everything_back(night, admin):
    set_aside_damage(night, admin)
    said = night.sh(*GUIDED)
    assert night.equals(night.folder.parent / "shop")
    assert f"Backup {night.snapshot} of" in said and f"Recovered from {night.snapshot}" in said
    assert "every count and digest as recorded" in said and "What to do now:" in said
    assert "opened by Chroma" in said
    # What the page shows is what is really printed, but for names, times and numbers.
    for line in ("2 backups of default in", "-> ", "Nothing that is there already is overwritten"):
        assert line in said and line.replace("2 backups", "31 backups") in TEXT


@pytest.mark.parametrize("night", ["a folder"], indirect=True)
def test_an_older_backup_comes_back_by_its_id(night, admin):
    with closing(sqlite3.connect(night.ctx.settings.shop_sqlite_path)) as database, database:
        database.execute("DELETE FROM orders")
    backup.run(night.ctx, admin, "manual")
    night.sh("variables", "older", ID=night.snapshot)
    assert night.equals(night.folder.parent / "shop")


def test_standard_tools_alone_bring_everything_back(night, admin):
    set_aside_damage(night, admin)
    target = night.folder / "target"
    target.mkdir()
    values = {"INSTANCE": "default", "TARGET": str(target)}
    encrypted = "BACKUP_SIGNING_KEY" in night.variables
    if encrypted:
        fetched = night.folder / "fetched"
        values |= night.variables | {"STORE": str(fetched)}
        values["IDENTITY"] = night.variables["BACKUP_AGE_IDENTITY_FILE"]
        # rclone's program lies beside Python; aws is tried where it is installed.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        night.sh("fetch with rclone", PATH=path, **values)
        if _runs("aws"):
            again = values | {"STORE": str(night.folder / "again")}
            night.sh("fetch with aws", **again, AWS_EC2_METADATA_DISABLED="true")
            assert tree(night.folder / "again") == tree(fetched)
    else:
        values["STORE"] = night.variables["FROM"].removeprefix("file:")
    said = night.sh(*BY_HAND, **values)
    assert f"using {night.snapshot}" in said
    assert "FAILED" not in said and "NOT EQUAL" not in said and said.count("OK") > 6
    assert "ok\n300\n" in said and "ada|admin" in said
    assert night.equals(target)
    assert json.loads((target / "knowledge.json").read_text()) == FASHION_KNOWLEDGE_BASE
    if encrypted:
        lines = night.sh("choose", "signature", **values).splitlines()
        written, calculated = (line.split()[1] for line in lines[-2:])
        assert written == calculated and len(written) == 64


def test_a_postgresql_dump_goes_back_with_its_own_tools(postgres_server, tmp_path, admin):
    ctx = desk_on(postgres_server, tmp_path / "old")
    try:
        made = backup.run(ctx, admin, "manual").result["snapshot"]
        wanted = backup.manifest(ctx, admin, made).tables
        store = ctx.settings.store_url.removeprefix("file:")
    finally:
        ctx.close()
    target = tmp_path / "target"
    target.mkdir()
    empty = postgres_server.make_database()
    values = {"INSTANCE": "default", "STORE": store, "TARGET": str(target), "DATABASE_URL": empty}
    path = f"{postgres_server.bin_dir}:{os.environ['PATH']}"
    blocks = "\n".join(BLOCKS[name] for name in ("choose", "check", "gather", "postgres"))
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", blocks],
        cwd=tmp_path,
        env={"PATH": path, **values},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert postgres.table_facts(empty) == wanted


def _runs(program: str) -> bool:
    found = shutil.which(program)
    return bool(found) and not subprocess.run([found, "--version"], capture_output=True).returncode


def test_every_block_of_commands_on_the_page_is_tried_here():
    assert set(BLOCKS) == {*GUIDED, *BY_HAND, *ELSEWHERE}
    assert TEXT.count("```sh\n") == len(BLOCKS), "a block of commands that no test runs"
