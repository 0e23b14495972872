"""The codec with encryption: only its identity opens it, and no thread or byte is left over."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import io
import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import Broken, Misconfigured
from services.protection.codec import PIECE, PackingReader, unpack
from tests.unit.packing import IDENTITY, RECIPIENTS, Dribble, component_of, pack, unpacked


@pytest.fixture(scope="module")
def identity_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("identity") / "identity.txt"
    file.write_text(f"# a comment\n\n{IDENTITY}\n")
    return file


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Whatever became of a stage, the thread that encrypts or decrypts ended with it."""
    yield
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "age":
            thread.join(10)
            assert not thread.is_alive()


@given(
    data=st.binary(max_size=5000),
    repeat=st.integers(1, 400),
    compress=st.booleans(),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_any_bytes_come_back_exactly_through_encryption(
    identity_file, data, repeat, compress, seed
):
    data *= repeat
    with PackingReader(Dribble(data, seed), compress=compress, recipients=RECIPIENTS) as reader:
        pieces = []
        while piece := reader.read(random.Random(seed).randint(1, 300_000)):
            pieces.append(piece)
        stored = b"".join(pieces)
        component = component_of(reader, "zstd" if compress else "none", "age")
    assert len(stored) == component.stored_bytes
    assert component.plain_sha256 == hashlib.sha256(data).hexdigest()
    assert component.stored_sha256 == hashlib.sha256(stored).hexdigest()
    target = io.BytesIO()
    unpack(component, Dribble(stored, seed), target, identity_file=identity_file)
    assert target.getvalue() == data
    if len(data) > 40:
        assert data[:40] not in stored


def test_every_recipient_opens_it_and_nobody_else(tmp_path):
    pairs = [pyrage.x25519.Identity.generate() for _ in range(3)]
    invited = tuple(str(pair.to_public()) for pair in pairs[:2])
    component, stored = pack(b"orders" * 1000, recipients=invited)
    for number, pair in enumerate(pairs):
        file = tmp_path / f"{number}.txt"
        file.write_text(str(pair))
        if number < 2:
            assert unpacked(component, stored, file) == b"orders" * 1000
        else:
            with pytest.raises(Misconfigured, match="encrypted for other keys"):
                unpacked(component, stored, file)
    every = tmp_path / "every.txt"
    every.write_text("\n".join(str(pair) for pair in reversed(pairs)))
    assert unpacked(component, stored, every) == b"orders" * 1000


def test_without_an_identity_nothing_is_read_and_the_setting_is_named():
    component, _stored = pack(b"orders", recipients=RECIPIENTS)

    class Untouched:
        def read(self, size: int = -1, /) -> bytes:
            raise AssertionError("it was read")

    with pytest.raises(Misconfigured) as refused:
        unpack(component, Untouched(), io.BytesIO())
    assert "BACKUP_AGE_IDENTITY_FILE" in refused.value.hint


def test_debians_age_opens_what_was_packed_and_the_desk_what_age_made(identity_file, tmp_path):
    data = b"order;total\n" * 200_000
    _component, stored = pack(data, recipients=RECIPIENTS)
    opened = subprocess.run(
        f"age -d -i {identity_file} | zstd -dc", shell=True, input=stored, capture_output=True
    )
    assert opened.stdout == data
    plain = tmp_path / "plain"
    plain.write_bytes(data)
    theirs = subprocess.run(
        ["age", "-r", RECIPIENTS[0], plain], check=True, capture_output=True
    ).stdout
    component, _stored = pack(data, compress=False)
    component = dataclasses.replace(
        component,
        encryption="age",
        stored_bytes=len(theirs),
        stored_sha256=hashlib.sha256(theirs).hexdigest(),
    )
    assert unpacked(component, theirs, identity_file) == data


@pytest.mark.parametrize("compress", [True, False])
def test_every_flipped_bit_of_an_encrypted_object_is_found(identity_file, compress):
    """In the header, in what says for whom it is, in its seal, in every piece."""
    data = random.Random(3).randbytes(200_000)
    component, stored = pack(data, compress=compress, recipients=RECIPIENTS)
    header = stored.index(b"\n--- ") + 60
    assert header < 500 and stored.startswith(b"age-encryption.org/v1\n-> X25519 ")
    places = [*range(header), *range(header, len(stored), 7919), len(stored) - 1]
    for at in places:
        altered = bytearray(stored)
        altered[at] ^= 1 << (at % 8)
        with pytest.raises(Broken, match="altered") as caught:
            unpacked(component, bytes(altered), identity_file)
        assert component.name in caught.value.message


@pytest.mark.parametrize("compress", [True, False])
def test_every_truncation_of_an_encrypted_object_is_found(identity_file, compress):
    data = random.Random(4).randbytes(150_000)
    component, stored = pack(data, compress=compress, recipients=RECIPIENTS)
    lengths = {*range(450), *range(450, len(stored), 1999), len(stored) - 1, len(stored) - 65552}
    for length in lengths:
        with pytest.raises(Broken, match="cut short|altered"):
            unpacked(component, stored[:length], identity_file)
    for more in (b"x", stored):
        with pytest.raises(Broken, match="is longer than"):
            unpacked(component, stored + more, identity_file)


def test_what_was_encrypted_wrongly_is_not_blamed_on_the_key(identity_file):
    junk = b"age-encryption.org/v1\nthis is no header at all\n" * 5
    component, _stored = pack(b"data")
    component = dataclasses.replace(
        component,
        encryption="age",
        stored_bytes=len(junk),
        stored_sha256=hashlib.sha256(junk).hexdigest(),
    )
    with pytest.raises(Broken, match="is as it was stored, but can't be decrypted"):
        unpacked(component, junk, identity_file)


def test_a_bomb_inside_encryption_stops_where_the_manifest_says(identity_file):
    component, stored = pack(bytes(50 << 20), recipients=RECIPIENTS)
    target = io.BytesIO()
    with pytest.raises(Broken, match="unpacks to more than 1000 bytes"):
        unpack(
            dataclasses.replace(component, plain_bytes=1000),
            io.BytesIO(stored),
            target,
            identity_file=identity_file,
        )
    assert len(target.getvalue()) <= 1000


class Breaks:
    """Gives some bytes, then an error."""

    def __init__(self, data: bytes) -> None:
        self.left = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        if piece := self.left.read(min(size, 100_000)):
            return piece
        raise ConnectionResetError("the dump ended")


def test_an_error_of_the_source_passes_through_encryption_as_it_is(identity_file):
    data = random.Random(5).randbytes(3 << 20)
    for compress in (True, False):
        reader = PackingReader(Breaks(data), compress=compress, recipients=RECIPIENTS)
        with pytest.raises(ConnectionResetError, match="the dump ended"):
            reader.read()
    component, stored = pack(data, recipients=RECIPIENTS)
    with pytest.raises(ConnectionResetError, match="the dump ended"):
        unpack(component, Breaks(stored[: 2 << 20]), io.BytesIO(), identity_file=identity_file)


def test_an_error_of_the_target_ends_decryption_too(identity_file):
    class Full(io.RawIOBase):
        def write(self, _data: object, /) -> int:
            raise OSError(28, "No space left on device")

    component, stored = pack(random.Random(6).randbytes(4 << 20), recipients=RECIPIENTS)
    with pytest.raises(OSError, match="No space left"):
        unpack(component, io.BytesIO(stored), Full(), identity_file=identity_file)


@pytest.mark.parametrize("read", [0, 1, 70_000, 3 << 20])
@pytest.mark.parametrize("closed", [True, False])
def test_a_reader_that_is_given_up_leaves_no_thread_behind(read, closed):
    reader = PackingReader(
        io.BytesIO(random.Random(7).randbytes(20 << 20)), compress=False, recipients=RECIPIENTS
    )
    assert len(reader.read(read)) == read
    [thread] = [each for each in threading.enumerate() if each.name == "age"]
    if closed:
        reader.close()
        assert not thread.is_alive()
        with pytest.raises(ValueError):
            reader.read(1 << 20)
    else:
        del reader
        gc.collect()
        thread.join(10)
        assert not thread.is_alive()


def test_no_more_is_read_ahead_than_two_pieces_on_either_side():
    """Whoever does not read on holds everything before up: a store that stalls, no memory."""

    class Counting:
        given = 0

        def read(self, size: int = -1, /) -> bytes:
            self.given += size
            return bytes(size)

    source = Counting()
    reader = PackingReader(source, compress=False, recipients=RECIPIENTS)
    out = 0
    for _ in range(40):
        out += len(reader.read(1 << 18))
        # One piece that waits to be taken, two that wait for the thread, two that it made.
        assert source.given <= out + 6 * PIECE
    reader.close()


def test_an_encrypted_digest_is_not_given_before_the_end():
    reader = PackingReader(io.BytesIO(bytes(PIECE)), compress=False, recipients=RECIPIENTS)
    reader.read(10)
    with pytest.raises(RuntimeError):
        _ = reader.stored_sha256
    reader.close()
