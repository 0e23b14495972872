"""The codec: what is packed comes back exactly, or an error says that it does not."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import Broken
from services.core.settings import PROJECT_ROOT
from services.protection.codec import PIECE, PackingReader, unpack
from services.protection.model import Component, Part
from tests.unit.packing import Dribble, component_of, pack, unpacked


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
