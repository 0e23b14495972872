"""Everything that is measured, in one run: `make bench`.

`python -m benchmarks [--mb 500] [--server-mb 600] [--rounds 2] [--entries 100000]`: backups and
restores of an SQLite shop of that size, then of a PostgreSQL one, then the knowledge desk; a
size of 0 leaves that part out, for example `--server-mb 0` beside `--mb 2000`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mb", type=int, default=500, help="size of the SQLite database")
    parser.add_argument("--server-mb", type=int, default=600, help="of the PostgreSQL database")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--entries", type=int, default=100_000, help="of the knowledge base")
    options = parser.parse_args()
    codes = [
        subprocess.run(
            [sys.executable, "-m", module, "--mb", str(size), "--rounds", str(options.rounds)],
            cwd=ROOT,
            check=False,
        ).returncode
        for module, size in (
            ("benchmarks.backup", options.mb),
            ("benchmarks.server", options.server_mb),
        )
        if size
    ]
    if options.entries:
        command = [sys.executable, "-m", "benchmarks.knowledge", "--entries", str(options.entries)]
        codes.append(subprocess.run(command, cwd=ROOT, check=False).returncode)
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
