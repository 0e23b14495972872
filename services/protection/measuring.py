"""Check a copy of an SQLite database and measure its tables in a process of its own.

The second core does it while this process compresses, fetches or compares.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from services.core.errors import Broken
from services.core.settings import PROJECT_ROOT
from services.protection.digests import FileFacts
from services.protection.model import TableFacts


@dataclass(frozen=True)
class Known:
    """What was found in a copy, and of which bytes that is true: the same bytes hold the same.

    Plain values, so that it can travel in the parameters of a job.
    """

    counter: int  # its file change counter: another one means other bytes
    sha256: str
    tables: dict[str, tuple[int, str]]  # name -> rows, digest
    foreign_key_violations: int

    def facts(self) -> dict[str, TableFacts]:
        """Its tables as a manifest keeps them."""
        return table_facts(self.tables)


class Measuring:
    """One child at work; ended on leaving.

    Args:
        copy: nobody writes to it meanwhile.
        hashed: digest the whole file as well.
        references: count the rows that refer to none.
    """

    def __init__(self, copy: Path, *, hashed: bool = False, references: bool = True) -> None:
        self._copy = copy
        flags = [*(["--hashed"] if hashed else []), *([] if references else ["--no-references"])]
        self._child = subprocess.Popen(
            [sys.executable, "-m", "services.protection.digests", *flags, str(copy)],
            cwd=PROJECT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._found: FileFacts | None = None

    def __enter__(self) -> Measuring:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    def found(self) -> FileFacts:
        """Wait for what it finds.

        Raises:
            Broken: the copy can't be read.
        """
        if self._found is None:
            output, _nothing = self._child.communicate()
            if self._child.returncode != 0:
                raise Broken(f"{self._copy.name} could not be read; nothing was changed.")
            verdict, tables, violations, sha256 = json.loads(output)
            pairs = {name: (rows, digest) for name, (rows, digest) in tables.items()}
            self._found = FileFacts(verdict, pairs, violations, sha256)
        return self._found

    def stop(self) -> None:
        """End the child."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()


def table_facts(tables: dict[str, tuple[int, str]]) -> dict[str, TableFacts]:
    """Rows and digests as a manifest keeps them."""
    return {name: TableFacts(rows, digest) for name, (rows, digest) in tables.items()}
