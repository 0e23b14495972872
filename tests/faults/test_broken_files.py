"""Thousands of broken files: each is read, or refused in words; none takes the desk along."""

from __future__ import annotations

import random
import resource
import secrets
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.core.errors import DeskError
from services.knowledge.exchange import formats
from services.knowledge.exchange.model import Format, ReadFile
from services.knowledge.validation import MAX_TEXT, text_problem
from tests.faults import matrix
from tests.faults.broken_files import WORDS, broken_inside, mutations, whole_files

_PIECES = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=3)), max_size=25)
TRIES = 700 if matrix.LONG else 30
ROOM = 700_000  # kB that one process may grow by, whatever it is given to read
ENDLESS = 30  # seconds of work after which a file of some hundred kB counts as endless


@pytest.mark.parametrize("format", Format)
def test_a_broken_file_is_read_or_refused_in_words_and_never_hangs(format: Format) -> None:
    seed = secrets.randbits(32)
    chance = random.Random(seed)
    name, data = whole_files()[format]
    files = [mutations(data, chance)]
    if format is Format.XLSX:
        files.append(broken_inside(data, chance))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for number in range(TRIES):
        broken = next(files[number % len(files)])
        begun = time.process_time()
        try:
            file = formats.read(name, broken)
        except DeskError as error:
            refused += 1
            assert error.message, seed
        except Exception as error:
            raise AssertionError(f"seed {seed}, file {number}: {error!r}") from error
        else:
            assert_sound(file)
        assert time.process_time() - begun < ENDLESS, f"seed {seed}, file {number}"
    assert refused, "nothing was broken"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < ROOM, f"seed {seed}: {grown} kB"


@pytest.mark.parametrize("format", Format)
@settings(
    deadline=None,
    max_examples=500 if matrix.LONG else 30,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.one_of(st.binary(max_size=300), _PIECES.map(b"".join)))
def test_bytes_of_chance_are_read_or_refused_in_words(format: Format, data: bytes) -> None:
    try:
        file = formats.read(f"occasions.{format}", data)
    except DeskError as error:
        assert error.message
    else:
        assert_sound(file)


def assert_sound(file: ReadFile) -> None:
    """What a file gives can be stored, and what it does not give is told."""
    for row in file.rows:
        assert text_problem(row.key) == ""
        texts = row.body.values() if isinstance(row.body, dict) else [row.body]
        assert all(len(text) <= MAX_TEXT for text in texts if isinstance(text, str))
    for fault in file.faults:
        assert fault.message
        assert fault.fix
    assert not (file.whole and file.faults)
    assert len({(row.section, row.key) for row in file.rows}) == len(file.rows)
