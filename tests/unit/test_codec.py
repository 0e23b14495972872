"""The codec: what is packed comes back exactly, or an error says that it does not."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import io
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import Broken, Misconfigured
from services.core.settings import PROJECT_ROOT
from services.protection.codec import PIECE, PackingReader, unpack
from services.protection.model import Component, Part


class Dribble:
    """Gives what it has in pieces of its own liking, as a pipe does."""

    def __init__(self, data: bytes, seed: int = 0) -> None:
        self.left = data
        self.random = random.Random(seed)

    def read(self, size: int = -1, /) -> bytes:
        count = self.random.randint(1, 70_000)
        if size >= 0:
            count = min(count, size)
        piece, self.left = self.left[:count], self.left[count:]
        return piece


IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENTS = (str(IDENTITY.to_public()), str(pyrage.x25519.Identity.generate().to_public()))


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


def component_of(reader: PackingReader, compression: str, encryption: str = "none") -> Component:
    return Component(
        name="database.sqlite3.zst",
        part=Part.DATABASE,
        key="data/default/x/database.sqlite3.zst",
        plain_bytes=reader.plain_bytes,
        plain_sha256=reader.plain_sha256,
        stored_bytes=reader.stored_bytes,
        stored_sha256=reader.stored_sha256,
        compression=compression,
        encryption=encryption,
        open_with="zstd -d",
    )


def pack(
    data: bytes, *, compress: bool = True, recipients: tuple[str, ...] = ()
) -> tuple[Component, bytes]:
    reader = PackingReader(io.BytesIO(data), compress=compress, recipients=recipients)
    stored = reader.read()
    encryption = "age" if recipients else "none"
    return component_of(reader, "zstd" if compress else "none", encryption), stored


def unpacked(component: Component, stored: bytes, identity_file: Path | None = None) -> bytes:
    target = io.BytesIO()
    unpack(component, io.BytesIO(stored), target, identity_file=identity_file)
    return target.getvalue()


@given(data=st.binary(max_size=5000), repeat=st.integers(1, 60), compress=st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_bytes_come_back_exactly(data, repeat, compress):
    data *= repeat
    component, stored = pack(data, compress=compress)
    assert unpacked(component, stored) == data
    assert (component.plain_bytes, component.stored_bytes) == (len(data), len(stored))
    assert component.plain_sha256 == hashlib.sha256(data).hexdigest()
    assert component.stored_sha256 == hashlib.sha256(stored).hexdigest()


@given(st.lists(st.integers(1, 200_000), max_size=30), st.booleans())
@settings(max_examples=40, deadline=None)
def test_reads_give_exactly_what_was_asked_for_until_the_end(sizes, compress):
    data = random.Random(1).randbytes(700_000)
    reader = PackingReader(Dribble(data), compress=compress)
    pieces = [reader.read(size) for size in sizes]
    rest = reader.read()
    short = [at for at, size in enumerate(sizes) if len(pieces[at]) != size]
    if short:  # only the end gives less, and after it there is nothing
        assert not rest and not any(pieces[short[0] + 1 :])
    stored = b"".join([*pieces, rest])
    assert unpacked(component_of(reader, "zstd" if compress else "none"), stored) == data


def test_what_is_stored_opens_with_zstd_alone():
    data = b"order;total\n" * 300_000
    _component, stored = pack(data)
    with zstandard.ZstdDecompressor().stream_reader(stored) as plain:
        assert plain.read() == data
    assert zstandard.get_frame_parameters(stored).has_checksum
    assert len(stored) < len(data) // 100


def test_it_can_be_read_as_any_file_and_by_a_buffer():
    data = random.Random(2).randbytes(3_000_000)
    with io.BufferedReader(PackingReader(Dribble(data), compress=False), 1 << 16) as buffered:
        assert buffered.read() == data


def test_digests_are_not_given_before_the_end():
    reader = PackingReader(io.BytesIO(bytes(PIECE)), compress=False)
    reader.read(10)
    with pytest.raises(RuntimeError):
        _ = reader.stored_sha256


def test_progress_counts_plain_bytes_both_ways():
    data = bytes(3 * PIECE + 5)
    packing, unpacking = [], []
    reader = PackingReader(io.BytesIO(data), compress=True, on_plain=packing.append)
    stored = reader.read()
    unpack(component_of(reader, "zstd"), io.BytesIO(stored), None, unpacking.append)
    for seen in (packing, unpacking):
        assert seen == sorted(seen)
        assert len(seen) >= 4
        assert seen[-1] == len(data)


def test_an_error_of_the_source_passes_through_as_it_is():
    class Fails:
        def read(self, size: int = -1, /) -> bytes:
            raise ConnectionResetError("the dump ended")

    with pytest.raises(ConnectionResetError, match="the dump ended"):
        PackingReader(Fails(), compress=True).read()
    component, _stored = pack(b"data")
    with pytest.raises(ConnectionResetError, match="the dump ended"):
        unpack(component, Fails(), io.BytesIO())


@pytest.mark.parametrize("compress", [True, False])
def test_every_flipped_byte_is_found(compress):
    data = b"INSERT INTO orders VALUES (1, 'ORD-20260301', 45.5);\n" * 40
    component, stored = pack(data, compress=compress)
    for at in range(len(stored)):
        for bit in (1, 128):
            altered = bytearray(stored)
            altered[at] ^= bit
            with pytest.raises(Broken) as caught:
                unpacked(component, bytes(altered))
            assert component.name in caught.value.message
            assert caught.value.hint


@pytest.mark.parametrize("compress", [True, False])
def test_every_truncation_is_found(compress):
    data = b"INSERT INTO orders VALUES (1, 'ORD-20260301', 45.5);\n" * 40
    component, stored = pack(data, compress=compress)
    for length in range(len(stored)):
        with pytest.raises(Broken, match="cut short|altered"):
            unpacked(component, stored[:length])


@pytest.mark.parametrize("more", [b"x", b"\x28\xb5\x2f\xfd", pack(b"a second frame")[1]])
def test_bytes_after_the_end_are_found(more):
    component, stored = pack(b"data" * 1000)
    with pytest.raises(Broken, match="is longer than"):
        unpacked(component, stored + more)


def test_an_object_swapped_for_another_good_one_is_found():
    component, _stored = pack(b"the orders of May")
    _other, stored = pack(b"the orders of Mai")
    with pytest.raises(Broken):
        unpacked(component, stored)


def test_a_manifest_that_disagrees_with_its_object_about_the_plain_bytes_is_found():
    component, stored = pack(b"data" * 1000)
    for changed in (
        {"plain_bytes": 3999},
        {"plain_bytes": 4001},
        {"plain_bytes": 0},
        {"plain_sha256": "0" * 64},
    ):
        with pytest.raises(Broken):
            unpacked(dataclasses.replace(component, **changed), stored)


@pytest.mark.parametrize("changed", [{"encryption": "rot13"}, {"compression": "brotli"}])
def test_a_packing_of_a_later_version_is_refused_before_anything_is_read(changed):
    component, _stored = pack(b"data")
    with pytest.raises(Broken, match="this version can't open"):
        unpack(dataclasses.replace(component, **changed), io.BytesIO(), io.BytesIO())


def test_a_bomb_stops_one_byte_after_what_the_manifest_allows():
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(200 << 20))
    stored = Component(
        "bomb.zst",
        Part.DATABASE,
        "data/x",
        1000,
        "0" * 64,
        len(bomb),
        hashlib.sha256(bomb).hexdigest(),
        "zstd",
        "none",
        "",
    )
    target = io.BytesIO()
    with pytest.raises(Broken, match="unpacks to more than 1000 bytes"):
        unpack(stored, io.BytesIO(bomb), target)
    assert len(target.getvalue()) <= 1000


def test_a_frame_that_asks_for_a_huge_window_is_refused():
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = packer.compress(bytes(1 << 20)) + packer.flush()
    component, _stored = pack(bytes(1 << 20))
    changed = dataclasses.replace(
        component, stored_bytes=len(frame), stored_sha256=hashlib.sha256(frame).hexdigest()
    )
    with pytest.raises(Broken, match="can't be unpacked"):
        unpacked(changed, frame)


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


_PEAK = """
import io, random, resource, sys, tempfile
from services.protection.codec import PackingReader, unpack
from services.protection.model import Component, Part
class Source:
    def __init__(self, size):
        self.left, self.block = size, random.Random(1).randbytes(1 << 19) + bytes(1 << 19)
    def read(self, size=-1, /):
        count = min(size, self.left, len(self.block))
        self.left -= count
        return self.block[:count]
recipients, identity_file = [], None
if len(sys.argv) > 2:
    import pathlib, pyrage
    pair = pyrage.x25519.Identity.generate()
    recipients = [str(pair.to_public())]
    identity_file = pathlib.Path(sys.argv[2])
    identity_file.write_text(str(pair))
reader = PackingReader(Source(int(sys.argv[1]) << 20), compress=True, recipients=recipients)
with tempfile.TemporaryFile() as file:
    while piece := reader.read(1 << 20):
        file.write(piece)
    component = Component("x", Part.DATABASE, "x", reader.plain_bytes, reader.plain_sha256,
        reader.stored_bytes, reader.stored_sha256, "zstd", "age" if recipients else "none", "")
    file.seek(0)
    unpack(component, file, None, identity_file=identity_file)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _peak_bytes(mebibytes: int, folder: Path, *identity: str) -> int:
    # Through a shell, because Linux counts the peak of the process that was forked (pytest,
    # with whatever tests it ran before) as the peak of the program it then becomes.
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$@"; exit $?', sys.executable, _PEAK, str(mebibytes), *identity],
        cwd=PROJECT_ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        check=True,
        timeout=120,
    )
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("encrypted", [False, True])
def test_memory_does_not_grow_with_the_data(tmp_path: Path, encrypted: bool):
    identity = [str(tmp_path / "identity.txt")] if encrypted else []
    small, large = (_peak_bytes(size, tmp_path, *identity) for size in (40, 240))
    assert large - small < 16 << 20
    assert large < 130 << 20
