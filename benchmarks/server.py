"""Backup and restore of a shop-like PostgreSQL database beside its own tools, as ratios.

`python -m benchmarks.server [--mb 600] [--rounds 3]` starts a server of its own. The limit of
a backup is `pg_dump -Fc -Z0` through `zstd -3 -T2`; that of a restore is `zstd -d` and
`pg_restore -j2` into a new database. Restic takes the same dump through a pipe. The memory is
that of the desk's processes and the tools they start, not the server's.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import sqlite3
import sys
import tempfile
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.backup import attach, encrypting, stored_bytes, tell_bytes
from benchmarks.contest import Contest, Goal, tell
from benchmarks.measure import Usage, measure
from benchmarks.shopdata import SCHEMA, make_shop
from tests.postgres import PASSWORD, PostgresServer, running_server
from tests.servers import S3Server, running_rclone

ROOT = Path(__file__).resolve().parents[1]
BARE = "pg_dump -Fc -Z0 | zstd -3 -T2"
PLAIN = "pg_dump -Fc"
OURS = "this desk: backup"
ENCRYPTED = "this desk: backup, encrypted"
TO_S3 = "this desk: backup to S3"
UNCHANGED = "this desk: backup, nothing changed"
RESTIC = "pg_dump -Fc -Z0 | restic, first backup"
BARE_BACK = "zstd -d + pg_restore -j2"
RESTORE = "this desk: restore"
RESTORE_ENCRYPTED = "this desk: restore, encrypted"
RESTORE_S3 = "this desk: restore from S3"
GOALS = (
    Goal("backup beside the bare pipeline", OURS, (BARE,), 1.15),
    Goal("backup beside restic's first", OURS, (RESTIC,), 0.4),
    Goal("unchanged backup beside a full one", UNCHANGED, (OURS,), 0.3),
    Goal("restore beside bare restore + bare backup", RESTORE, (BARE_BACK, BARE), 1.25),
)
GOAL_BYTES = 250_000_000
SIDES = (OURS, ENCRYPTED, TO_S3, UNCHANGED, RESTORE, RESTORE_ENCRYPTED, RESTORE_S3)
_AT_ONCE = 5000


class Bench:
    """One database on a server, and a desk beside it whose own database is a file."""

    def __init__(
        self, folder: Path, megabytes: int, server: PostgresServer, bucket: S3Server
    ) -> None:
        self.folder, self.server, self.bucket = folder, server, bucket
        self.url = server.make_database()
        self.name = self.url.rpartition("/")[2]
        fill(self.url, make_shop(folder / "rows.db", megabytes))
        (folder / "rows.db").unlink()
        attach(self.url)
        self.sent: dict[str, int] = {}  # bytes stored by each kind of backup
        self.environment = {
            "DESK_HOME": str(folder / "desk"),
            "SHOP_ROOT": str(folder / "shop"),
            "DATABASE_URL": self.url,
            "POSTGRES_TOOLS": str(server.bin_dir),
            "BACKUP_STORE_URL": f"file:{self.out}",
            "PGPASSWORD": PASSWORD,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGUSER": "shop",
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_REPOSITORY": str(self.out / "restic"),
            "RESTIC_CACHE_DIR": str(folder / "cache"),
        }
        self.encrypting = encrypting(folder / "identity.txt")

    @property
    def out(self) -> Path:
        """Where the contestants write."""
        return self.folder / "out"

    def fresh(self) -> None:
        """An empty place to write to, and nothing left over on the server."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        with self.server.connect("postgres", "shop") as connection:
            names = connection.execute("SELECT datname FROM pg_database").fetchall()
            for (name,) in names:
                if name != self.name and name.startswith(("bench_", self.name)):
                    connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        os.sync()

    def bare(self) -> Usage:
        """The limit of a backup."""
        dump = f"'{self.server.bin_dir}/pg_dump' -Fc -Z0 {self.name}"
        return self._run(["sh", "-c", f"{dump} | zstd -q -3 -T2 -o '{self.out}/out.zst'"])

    def plain(self) -> Usage:
        """What an administrator would type."""
        target = str(self.out / "out.dump")
        return self._run([str(self.server.bin_dir / "pg_dump"), "-Fc", "-f", target, self.name])

    def ours(self, **more: str) -> Usage:
        """What cron runs: every check included, read back in full."""
        script = str(ROOT / "services" / "backup.py")
        return self._run([sys.executable, script, "--json", "--no-prune"], **more)

    def encrypted(self) -> Usage:
        """The same for one recipient."""
        return self.ours(**self.encrypting)

    def unchanged(self) -> Usage:
        """The second of two, nobody having written in between."""
        self.sent["full"] = stored_bytes(self.ours())
        usage = self.ours()
        self.sent["unchanged"] = stored_bytes(usage)
        return usage

    def to_s3(self) -> Usage:
        """The same into a bucket of a real server on this machine."""
        return self.ours(**self._bucket())

    def restic(self) -> Usage:
        """A first backup of the dump as it comes."""
        self._run(["restic", "init", "--quiet"])
        dump = f"'{self.server.bin_dir}/pg_dump' -Fc -Z0 {self.name}"
        return self._run(["sh", "-c", f"{dump} | restic backup --quiet --stdin"])

    def bare_back(self) -> Usage:
        """The limit of a restore."""
        self.bare()
        name, dump = f"bench_{secrets.token_hex(4)}", self.out / "out.dump"
        with self.server.connect("postgres", "shop") as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        restore = f"'{self.server.bin_dir}/pg_restore' -j2 -d {name} '{dump}'"
        return self._run(["sh", "-c", f"zstd -q -d '{self.out}/out.zst' -o '{dump}' && {restore}"])

    def restore(self, **more: str) -> Usage:
        """What an operator runs; brings its own safety snapshot of the changed shop."""
        self.ours(**more)
        with self.server.connect(self.name, "shop") as connection:
            connection.execute("UPDATE orders SET status = 'returned' WHERE id % 997 = 0")
        script = str(ROOT / "services" / "restore.py")
        return self._run([sys.executable, script, "latest", "--only", "database", "--yes"], **more)

    def restore_encrypted(self) -> Usage:
        """The same, encrypted."""
        return self.restore(**self.encrypting)

    def restore_s3(self) -> Usage:
        """The same from a bucket."""
        return self.restore(**self._bucket())

    def _bucket(self) -> dict[str, str]:
        settings = self.bucket.settings(self.bucket.make_bucket())
        return {name.upper(): value for name, value in settings.items()}

    def _run(self, command: list[str], **more: str) -> Usage:
        return measure(command, self.environment | more)


def fill(url: str, rows: Path) -> None:
    """Write the tables of an SQLite shop into an empty PostgreSQL database."""
    import psycopg

    schema = re.sub(r" REFERENCES \w+ \(id\)", "", SCHEMA).replace("DATETIME", "TIMESTAMP")
    with closing(sqlite3.connect(rows)) as source, psycopg.connect(url) as target:
        target.execute(schema)
        for table in re.findall(r"CREATE TABLE (\w+)", SCHEMA):
            found = source.execute(f"SELECT * FROM {table}")
            with target.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                while piece := found.fetchmany(_AT_ONCE):
                    for row in piece:
                        copy.write_row(row)
    with psycopg.connect(url, autocommit=True) as target:
        target.execute("VACUUM ANALYZE")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mb", type=int, default=600, help="size of the database")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.chdir(ROOT)
    running = contextmanager(partial(running_server, 16, "pginstall"))
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="desk-bench-")))
        server = held.enter_context(running())
        bucket = held.enter_context(running_rclone(folder / "rclone"))
        print(f"Making a shop database of {options.mb} MB ...", flush=True)
        bench = Bench(folder, options.mb, server, bucket)
        bench.fresh()
        bench.ours()  # the desk's own tables are made once
        contestants = {
            BARE: bench.bare,
            PLAIN: bench.plain,
            OURS: bench.ours,
            ENCRYPTED: bench.encrypted,
            TO_S3: bench.to_s3,
            UNCHANGED: bench.unchanged,
            BARE_BACK: bench.bare_back,
            RESTORE: bench.restore,
            RESTORE_ENCRYPTED: bench.restore_encrypted,
            RESTORE_S3: bench.restore_s3,
        }
        if shutil.which("restic"):
            contestants[RESTIC] = bench.restic
        else:
            print("left out, not installed here: restic")
        contest = Contest(f"PostgreSQL 16, {options.mb} MB", BARE, contestants, bench.fresh, GOALS)
        contest.run(options.rounds)
        contest.show()
        contest.compare(BARE, RESTIC)
        contest.compare(ENCRYPTED, OURS)
        contest.compare(OURS, PLAIN)
        contest.compare(RESTORE_ENCRYPTED, RESTORE)
        tell_bytes(bench.sent)
        peak = max(contest.peak(name) for name in SIDES if contest.found[name])
        tell("peak memory of backups and restores, MB", peak / 1e6, GOAL_BYTES / 1e6)
    return 0


if __name__ == "__main__":
    sys.exit(main())
