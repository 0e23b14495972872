"""A machine that is lost, and a new one that has nothing but the repository."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text

from services import restore
from services.core.access import Actor, command_line_actor
from services.core.context import Context, open_context
from services.core.loading import load_settings
from services.core.settings import PROJECT_ROOT, Settings
from services.people import accounts
from services.protection.digests import table_digests
from services.protection.model import Manifest
from tests.faults.scene import back_up, furnish, tree

COMMAND = [sys.executable, str(PROJECT_ROOT / "services" / "restore.py")]
PASSWORD = "plum kettle over orchard 4"


@dataclass(frozen=True)
class Lost:
    """What was backed up, and what has to come back."""

    settings: Settings
    manifest: Manifest
    tables: dict[str, Any]
    pictures: dict[str, bytes]
    vectors: dict[str, Any]
    audit: list[tuple[Any, ...]]  # the rows that the snapshot holds

    @property
    def source(self) -> str:
        """What follows --from."""
        return self.settings.store_url

    @property
    def store_variables(self) -> dict[str, str]:
        """What the new machine has in its environment: access to the store, and keys."""
        kept = ("AWS_", "BACKUP_AGE_IDENTITY", "BACKUP_SIGNING")
        return {
            name: value
            for name, value in self.settings.as_environment().items()
            if name.startswith(kept)
        }


def lose(ctx: Context, admin: Actor) -> Lost:
    """Furnish the shop, make an account, back everything up, and note what was there."""
    furnish(ctx, vectors=True)
    accounts.create(ctx, command_line_actor(), "ada", "Ada Novak", "admin", password=PASSWORD)
    manifest = back_up(ctx, admin)
    return noted(ctx, manifest)


def noted(ctx: Context, manifest: Manifest) -> Lost:
    """What has to come back from a snapshot that was just made."""
    return Lost(ctx.settings, manifest, *contents(ctx.settings), audit_rows(ctx)[:-1] or [])


def contents(settings: Settings) -> tuple[dict[str, Any], dict[str, bytes], dict[str, Any]]:
    """The shop on a disk: table digests, pictures, vector files (its database by digests)."""
    assert settings.shop_sqlite_path is not None
    vectors: dict[str, Any] = dict(tree(settings.vector_dir))
    if vectors.pop("chroma.sqlite3", None):
        vectors |= table_digests(settings.vector_dir / "chroma.sqlite3")
    return table_digests(settings.shop_sqlite_path), tree(settings.images_dir), vectors


def audit_rows(ctx: Context) -> list[tuple[Any, ...]]:
    """The audit log, oldest first."""
    with ctx.control.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT * FROM audit_log"))]


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


class NewMachine:
    """An empty folder, and the command line in an environment of its own."""

    def __init__(self, folder: Path, lost: Lost) -> None:
        self.home, self.lost = folder, lost
        self.variables = {"DESK_HOME": str(folder / "desk"), "SHOP_ROOT": str(folder / "shop")}
        self.variables |= lost.store_variables

    @property
    def settings(self) -> Settings:
        """As its command line reads them."""
        return load_settings(
            env_file=self.home / "no.env",
            desk_home=self.home / "desk",
            shop_root=self.home / "shop",
            backup_store_url=self.lost.source,
            instance_id=self.lost.settings.instance_id,
            **{name.lower(): value for name, value in self.lost.store_variables.items()},
        )

    def run(self, *arguments: str, **variables: str) -> Said:
        """`python services/restore.py` with these arguments, without a process of its own."""
        out, err = io.StringIO(), io.StringIO()
        before, stdin = dict(os.environ), sys.stdin
        os.environ.update(self.variables | variables)
        try:
            with open(os.devnull) as sys.stdin, redirect_stdout(out), redirect_stderr(err):
                code = restore.main(list(arguments))
        finally:
            sys.stdin = stdin
            os.environ.clear()
            os.environ.update(before)
        return Said(code, out.getvalue(), err.getvalue())

    def process(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """The same as a person types it."""
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.home,
            env={**os.environ, **self.variables, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def fresh(self, *arguments: str, **variables: str) -> dict[str, Any]:
        """A recovery that succeeds; gives its answer."""
        done = self.run(
            "--from", self.lost.source, "--fresh", *arguments, "--yes", "--json", **variables
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert answer["state"] == "recovered"
        return answer

    def refused(self, *arguments: str, code: int = 1, **variables: str) -> str:
        """A recovery that is refused and leaves the machine as it was; gives what was said."""
        before = self.files()
        done = self.run("--from", self.lost.source, "--fresh", *arguments, "--yes", **variables)
        assert done.returncode == code, done.stderr
        assert self.files() == before
        return done.stderr

    def files(self) -> dict[str, bytes]:
        """Everything that lies here, but for an empty lock."""
        return {name: data for name, data in tree(self.home).items() if data}

    def desk(self) -> Context:
        """The desk that was recovered."""
        return open_context(self.settings)

    def equals_the_lost_one(self) -> bool:
        """Whether the shop is what it was."""
        lost = self.lost
        return contents(self.settings) == (lost.tables, lost.pictures, lost.vectors)
