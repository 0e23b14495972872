"""Read an old `.sql` backup (pg_dump's plain text) without running any of it.

Such a file is a program for psql: between its statements may stand commands to psql itself,
and `\\!` runs anything on the machine that loads it (CVE-2025-8714 put some into names of
objects). psql is therefore never used. The file is taken apart here, into statements that the
server gets and rows that it copies, and refused before anything runs when it holds a command
other than the two harmless ones that pg_dump writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from services.core.errors import Broken

_BEGINS = b"-- PostgreSQL database dump"
_ENDS = b"-- PostgreSQL database dump complete"
_HEAD, _TAIL = 4096, 4096
_COPY = re.compile(
    rb'COPY (?:(?P<schema>[a-z_][a-z0-9_$]*|"(?:[^"]|"")+")\.)?'
    rb'(?P<table>[a-z_][a-z0-9_$]*|"(?:[^"]|"")+") (?:\(.*\) )?FROM stdin;'
)
_HARMLESS = re.compile(rb"\\(?:un)?restrict [A-Za-z0-9]{1,128}")
_SETTING = re.compile(rb"SET ([a-z_]+) = [^;]*;")
# Who owns what and who may read it is this server's own matter; the roles may not exist here.
_RIGHTS = re.compile(
    rb"ALTER [A-Z ]+ [^';]+ OWNER TO [^';]+;|(?:GRANT|REVOKE) [^';]+;|COMMENT ON EXTENSION .*;"
)
_MOST_SQL = 256 << 20
"""Bytes of statements outside rows. A dump of INSERTs may be larger: none of the old ones."""
_MOST_LINE = 1 << 30


@dataclass(frozen=True)
class Rows:
    """One `COPY ... FROM stdin` with its rows."""

    statement: bytes
    schema: str
    table: str
    begin: int  # of the rows in the file
    end: int  # of the rows in the file, without the line that ends them
    count: int


@dataclass(frozen=True)
class Statements:
    """Text between two COPYs."""

    text: bytes


def take_apart(path: Path, name: str) -> tuple[Statements | Rows, ...]:
    """Everything that the server is to get, in order.

    Args:
        name: of the old backup, for people.

    Raises:
        Broken: it is empty, no dump, cut short, or holds a command for psql.
    """
    if not path.stat().st_size:
        raise refused(name, "is an empty file of 0 bytes")
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        file.seek(max(0, path.stat().st_size - _TAIL))
        tail = file.read()
    if _BEGINS not in head:
        raise refused(name, "is no dump of a PostgreSQL database")
    if _ENDS not in tail:
        raise refused(name, "was cut short: the line that ends every whole dump is missing")
    return tuple(_parts(path, name))


def _parts(path: Path, name: str) -> Iterator[Statements | Rows]:
    text: list[bytes] = []
    size = 0
    with open(path, "rb") as file:
        while line := file.readline(_MOST_LINE):
            bare = line.rstrip(b"\r\n")
            copy = _COPY.fullmatch(bare)
            if copy is not None:
                yield Statements(b"".join(text))
                text, size = [], 0
                yield _rows(file, bare, copy, name)
                continue
            if bare.startswith(b"\\"):
                if not _HARMLESS.fullmatch(bare):
                    raise refused(name, "holds a command for psql, which could run a program")
                continue
            size += len(line)
            if size > _MOST_SQL:
                raise refused(name, "holds more statements than any backup of the shop")
            text.append(line)
    yield Statements(b"".join(text))


def _rows(file: BinaryIO, statement: bytes, copy: re.Match[bytes], name: str) -> Rows:
    """Pass over the rows up to the line that ends them; what they hold is data, never read."""
    begin = end = file.tell()
    count = 0
    while line := file.readline(_MOST_LINE):
        if line.rstrip(b"\r\n") == b"\\.":
            schema, table = _identifier(copy["schema"] or b"public"), _identifier(copy["table"])
            return Rows(statement, schema, table, begin, end, count)
        count += 1
        end = file.tell()
    raise refused(name, f"was cut short in the rows of {_identifier(copy['table'])[:60]}")


def _identifier(written: bytes) -> str:
    text = written.decode("utf-8", "replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def fitting(text: bytes, known: frozenset[str]) -> bytes:
    """The text without what this server has not: settings of a newer pg_dump, other roles.

    Args:
        known: settings that the server has.
    """
    kept = []
    for line in text.splitlines(keepends=True):
        setting = _SETTING.fullmatch(line.strip())
        unknown = setting is not None and setting[1].decode() not in known
        if not unknown and not _RIGHTS.fullmatch(line.strip()):
            kept.append(line)
    return b"".join(kept)


def refused(name: str, what: str) -> Broken:
    """An old dump that can't be used."""
    return Broken(
        f"The legacy backup {name} {what}; nothing was made of it.", "Choose another one."
    )
