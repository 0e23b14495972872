"""Everything that is measured of backups and restores, in one run: `make bench`.

`python -m benchmarks [--mb 500] [--server-mb 600] [--rounds 2]`: an SQLite shop of that size,
then a PostgreSQL one; `--server-mb 0` leaves that out, for example beside `--mb 2000`.
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
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
