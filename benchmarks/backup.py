"""Backup and restore of a shop-like SQLite database beside other tools, as ratios.

`python -m benchmarks.backup [--mb 500] [--rounds 3] [--pages]`. `--pages` measures instead how
long a page of the desk takes to run again, quiet and while a backup runs. `make bench` runs
this and `benchmarks.server`, the same for PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.contest import Contest, Goal, tell
from benchmarks.measure import Usage, measure
from benchmarks.shopdata import make_shop
from db.engine import shop_engine, sqlite_url
from db.migrate import upgrade_knowledge
from tests.servers import S3Server, running_rclone

ROOT = Path(__file__).resolve().parents[1]
BARE = "bare pipeline"
OURS = "this desk: backup"
ENCRYPTED = "this desk: backup, encrypted"
TO_S3 = "this desk: backup to S3"
UNCHANGED = "this desk: backup, nothing changed"
RESTIC = "restic, first backup"
LITESTREAM = "Litestream, one snapshot"
SHELL = "sqlite3 .backup + zstd -3 -T2"
BARE_BACK = "bare restore"
RESTORE = "this desk: restore"
RESTORE_ENCRYPTED = "this desk: restore, encrypted"
RESTORE_S3 = "this desk: restore from S3"
GOALS = (
    Goal("backup beside the bare pipeline", OURS, (BARE,), 1.15),
    Goal("backup beside restic's first", OURS, (RESTIC,), 0.4),
    Goal("unchanged backup beside a full one", UNCHANGED, (OURS,), 0.3),
    # A restore makes a backup of today first: both limits together are its own.
    Goal("restore beside bare restore + bare backup", RESTORE, (BARE_BACK, BARE), 1.25),
)
GOAL_BYTES = 250_000_000
GOAL_UNCHANGED_BYTES = 0.01
SIDES = (OURS, ENCRYPTED, TO_S3, UNCHANGED, RESTORE, RESTORE_ENCRYPTED, RESTORE_S3)


class Bench:
    """One database, one desk beside it, and a fresh place to write to each time."""

    def __init__(self, folder: Path, megabytes: int, server: S3Server) -> None:
        self.folder = folder
        self.database = folder / "shop" / "instance" / "insightshop.db"
        make_shop(self.database, megabytes)
        attach(sqlite_url(self.database))
        self.server = server
        self.identity = folder / "identity.txt"
        self.sent: dict[str, int] = {}  # bytes stored by each kind of backup
        self.environment = {
            "DESK_HOME": str(folder / "desk"),
            "SHOP_ROOT": str(folder / "shop"),
            "BACKUP_STORE_URL": f"file:{self.out}",
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_REPOSITORY": str(self.out / "restic"),
            "RESTIC_CACHE_DIR": str(folder / "cache"),
        }
        self.encrypting = encrypting(self.identity)

    @property
    def out(self) -> Path:
        """Where the contestants write."""
        return self.folder / "out"

    def fresh(self) -> None:
        """An empty place to write to; everything written so far is on the disk."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        os.sync()

    def bare(self) -> Usage:
        """The limit."""
        command = [sys.executable, "-m", "benchmarks.bare"]
        return self._run([*command, str(self.database), str(self.out / "out.zst")])

    def bare_back(self) -> Usage:
        """The limit of a restore."""
        self.bare()
        command = [sys.executable, "-m", "benchmarks.bare", "--restore"]
        return self._run([*command, str(self.out / "out.zst"), str(self.database)])

    def ours(self, **more: str) -> Usage:
        """What cron runs: every check included, read back in full."""
        script = str(ROOT / "services" / "backup.py")
        return self._run([sys.executable, script, "--json", "--no-prune"], **more)

    def encrypted(self) -> Usage:
        """The same for one recipient."""
        return self.ours(**self.encrypting)

    def to_s3(self) -> Usage:
        """The same into a bucket of a real server on this machine."""
        return self.ours(**self._bucket())

    def unchanged(self) -> Usage:
        """The second of two, nobody having written in between."""
        self.sent["full"] = stored_bytes(self.ours())
        usage = self.ours()
        self.sent["unchanged"] = stored_bytes(usage)
        return usage

    def restore(self, **more: str) -> Usage:
        """What an operator runs; brings its own safety snapshot of the changed shop."""
        self.ours(**more)
        with closing(sqlite3.connect(self.database)) as db, db:
            db.execute("UPDATE orders SET status = 'returned' WHERE id % 997 = 0")
        script = str(ROOT / "services" / "restore.py")
        return self._run([sys.executable, script, "latest", "--only", "database", "--yes"], **more)

    def restore_encrypted(self) -> Usage:
        """The same, encrypted."""
        return self.restore(**self.encrypting)

    def restore_s3(self) -> Usage:
        """The same from a bucket."""
        return self.restore(**self._bucket())

    def restic(self) -> Usage:
        """A first backup of the file as it lies there (nobody writes to it here)."""
        self._run(["restic", "init", "--quiet"])
        return self._run(["restic", "backup", "--quiet", str(self.database)])

    def litestream(self) -> Usage:
        """One snapshot of a copy in WAL mode, which it needs."""
        copy = self.out / "wal.db"
        shutil.copyfile(self.database, copy)
        with closing(sqlite3.connect(copy)) as db:
            db.execute("PRAGMA journal_mode=wal")
            db.execute("CREATE TABLE litestream_needs_a_write (id INTEGER)")
        program = str(Path(sys.executable).with_name("litestream"))
        flags = ["-once", "-force-snapshot", "-log-level", "error"]
        return self._run([program, "replicate", *flags, str(copy), f"file://{self.out}/replica"])

    def shell(self) -> Usage:
        """What an administrator would type."""
        copy = self.out / "copy.db"
        line = f"sqlite3 '{self.database}' \".backup '{copy}'\" && zstd -q -3 -T2 --rm '{copy}'"
        return self._run(["sh", "-c", line])

    def _bucket(self) -> dict[str, str]:
        settings = self.server.settings(self.server.make_bucket())
        return {name.upper(): value for name, value in settings.items()}

    def _run(self, command: list[str], **more: str) -> Usage:
        return measure(command, self.environment | more)


def attach(url: str) -> None:
    """Give a shop the desk's own tables, as its first start does."""
    engine = shop_engine(url)
    upgrade_knowledge(engine)
    engine.dispose()


def encrypting(identity: Path) -> dict[str, str]:
    """Settings of a desk that encrypts; writes the identity."""
    import pyrage

    made = pyrage.x25519.Identity.generate()
    identity.write_text(f"{made}\n", encoding="utf-8")
    identity.chmod(0o600)
    return {
        "BACKUP_AGE_RECIPIENTS": str(made.to_public()),
        "BACKUP_AGE_IDENTITY_FILE": str(identity),
    }


def main() -> int:
    """Measure and print."""
    options = _options()
    os.chdir(ROOT)
    with ExitStack() as held:
        made = tempfile.TemporaryDirectory(prefix="desk-bench-", dir=options.folder)
        folder = Path(held.enter_context(made))
        server = held.enter_context(running_rclone(folder / "rclone"))
        print(f"Making a shop database of {options.mb} MB ...", flush=True)
        bench = Bench(folder, options.mb, server)
        if options.pages:
            from benchmarks.pages import compare

            bench.fresh()
            return compare(bench.environment)
        return _contest(bench, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mb", type=int, default=500, help="size of the database")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pages", action="store_true", help="measure pages instead")
    parser.add_argument("--folder", help="on which disk; the system's temporary folder otherwise")
    return parser.parse_args()


def _contest(bench: Bench, options: argparse.Namespace) -> int:
    contestants: dict[str, Callable[[], Usage]] = {
        BARE: bench.bare,
        OURS: bench.ours,
        ENCRYPTED: bench.encrypted,
        TO_S3: bench.to_s3,
        UNCHANGED: bench.unchanged,
        LITESTREAM: bench.litestream,
        BARE_BACK: bench.bare_back,
        RESTORE: bench.restore,
        RESTORE_ENCRYPTED: bench.restore_encrypted,
        RESTORE_S3: bench.restore_s3,
    }
    for name, program, run in (
        (RESTIC, "restic", bench.restic),
        (SHELL, "sqlite3 zstd", bench.shell),
    ):
        if all(shutil.which(one) for one in program.split()):
            contestants[name] = run
        else:
            print(f"left out, not installed here: {program}")
    bench.fresh()
    bench.ours()  # the desk's own tables are made once
    contest = Contest(f"SQLite, {options.mb} MB", BARE, contestants, bench.fresh, GOALS)
    contest.run(options.rounds)
    _print_steps(contest.found[OURS])
    contest.show()
    contest.compare(BARE, RESTIC)  # no backup that reads and compresses can be below
    contest.compare(ENCRYPTED, OURS)
    contest.compare(OURS, LITESTREAM)
    contest.compare(RESTORE_ENCRYPTED, RESTORE)
    tell_bytes(bench.sent)
    peak = max(contest.peak(name) for name in SIDES if contest.found[name])
    tell("peak memory of backups and restores, MB", peak / 1e6, GOAL_BYTES / 1e6)
    return 0


def tell_bytes(sent: dict[str, int]) -> None:
    """What an unchanged backup sent beside a full one."""
    if sent:
        share = sent["unchanged"] / sent["full"]
        tell("bytes of an unchanged backup beside a full one", share, GOAL_UNCHANGED_BYTES)


def stored_bytes(usage: Usage) -> int:
    """What a backup sent, as it says itself."""
    return int(json.loads(usage.output.splitlines()[-1])["stored_bytes"])


def _print_steps(usages: list[Usage]) -> None:
    fastest = min(usages, key=lambda usage: usage.seconds)
    steps = json.loads(fastest.output.splitlines()[-1])["steps"]
    shown = ", ".join(f"{name} {took:.2f}" for name, took in steps.items() if took >= 0.005)
    print(f"steps of the fastest backup, seconds: {shown}")


if __name__ == "__main__":
    sys.exit(main())
