"""Capturing the shop's Chroma folder, and reading the portable tables out of the copy."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from services.protection.sources import chroma, images
from services.protection.sources.chroma_export import file_name
from services.protection.tar import TarReader

_WRITER = """
import sys, chromadb
client = chromadb.PersistentClient(path=sys.argv[1])
shelf = client.get_or_create_collection("insightshop_products", metadata={"hnsw:space": "cosine"})
number = 0
while True:
    number += 1
    if number == 20:
        print("ready", flush=True)
    shelf.upsert(ids=[f"product_{number % 500}"], embeddings=[[number % 97, 1.0, 2.0, 3.0]],
                 documents=[f"text {number}"], metadatas=[{"product_id": number % 500}])
"""


@pytest.fixture
def busy_folder(tmp_path: Path) -> Iterator[Path]:
    """A Chroma folder that another process writes to without pause."""
    folder = tmp_path / "vector_db"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(folder)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"
    yield folder
    writer.kill()
    writer.wait()


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _export(copy: Path, into: Path) -> chroma.PortableTables:
    tables = chroma.end_export(chroma.start_export(copy, into), into)
    assert tables is not None
    return tables


def test_a_folder_that_is_written_to_gives_a_whole_copy(tmp_path: Path, busy_folder: Path):
    for number in range(3):
        copy = chroma.capture(busy_folder, tmp_path / f"copy{number}")
        assert copy is not None
        with closing(sqlite3.connect(copy.folder / "chroma.sqlite3")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    tables = _export(copy.folder, tmp_path / "tables")
    count = tables.facts["insightshop_products"].count
    table = pq.read_table(tables.files["insightshop_products"])
    assert count == table.num_rows >= 20
    assert {len(row) for row in table["embedding"].to_pylist()} == {4}


@pytest.mark.shared
def test_the_real_shops_vectors_come_out_and_its_folder_stays_byte_for_byte(
    tmp_path: Path, shared_shop: Path
):
    with tarfile.open(shared_shop / "vector_db.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    live = tmp_path / "vector_db"
    before = _hashes(live)
    copy = chroma.capture(live, tmp_path / "copy")
    assert copy is not None
    packed = TarReader(copy.members).read()
    tables = _export(copy.folder, tmp_path / "tables")
    assert _hashes(live) == before

    facts = tables.facts["insightshop_products"]
    assert (facts.count, facts.dimension, facts.space) == (72, 384, "cosine")
    table = pq.read_table(tables.files["insightshop_products"]).to_pylist()
    assert len({row["id"] for row in table}) == 72
    first = table[0]
    assert len(first["embedding"]) == 384 and first["document"]
    assert json.loads(first["metadata"])["product_id"] == int(first["id"].removeprefix("product_"))

    # The archive holds what lay there before our chromadb saw the copy.
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
        archive.extractall(tmp_path / "back", filter="data")
    back = _hashes(tmp_path / "back")
    assert back.keys() == before.keys()
    assert {name: digest for name, digest in back.items() if name != "chroma.sqlite3"} == {
        name: digest for name, digest in before.items() if name != "chroma.sqlite3"
    }
    with closing(sqlite3.connect(tmp_path / "back" / "chroma.sqlite3")) as database:
        columns = {row[1] for row in database.execute("PRAGMA table_info(collections)")}
        assert "topic" in columns  # what the shop's own version needs and a newer one removes


def test_there_is_nothing_to_capture_where_there_is_no_chroma_folder(tmp_path: Path):
    assert chroma.capture(tmp_path / "none", tmp_path / "copy") is None
    (tmp_path / "empty").mkdir()
    assert chroma.capture(tmp_path / "empty", tmp_path / "copy") is None


def test_links_and_hidden_files_stay_out_of_the_archive(tmp_path: Path):
    live = tmp_path / "vector_db"
    live.mkdir()
    with closing(sqlite3.connect(live / "chroma.sqlite3")) as database:
        database.execute("CREATE TABLE t (a)")
    (live / ".DS_Store").write_text("x")
    (live / "outside").symlink_to("/etc/passwd")
    copy = chroma.capture(live, tmp_path / "copy")
    assert copy is not None
    assert [name for name, _path in copy.members] == ["chroma.sqlite3"]
    assert copy.notes == ("Vectors: outside is not a plain file and was left out.",)


def test_a_copy_that_chroma_cant_read_gives_no_table_and_no_crash(tmp_path: Path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "chroma.sqlite3").write_bytes(b"junk" * 5000)
    into = tmp_path / "tables"
    assert chroma.end_export(chroma.start_export(tmp_path / "copy", into), into) is None


@pytest.mark.parametrize("table", ["orders", "collections"])
def test_a_database_that_chroma_did_not_make_gives_no_table_either(tmp_path: Path, table):
    (tmp_path / "copy").mkdir()
    with closing(sqlite3.connect(tmp_path / "copy" / "chroma.sqlite3")) as database, database:
        database.execute(f"CREATE TABLE {table} (a)")
    into = tmp_path / "tables"
    assert chroma.end_export(chroma.start_export(tmp_path / "copy", into), into) is None


def test_an_odd_collection_name_never_becomes_a_path():
    assert file_name("insightshop_products") == "vectors.insightshop_products.parquet"
    assert "/" not in file_name("../../etc/passwd")
    assert file_name("a/b") != file_name("a:b")


def test_a_tar_stream_is_what_tar_opens_whatever_it_is_read_by(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"a" * 1000)
    (tmp_path / "b").write_bytes(b"")
    name = "segment/" + "ä" * 120
    reader = TarReader([(name, tmp_path / "a"), ("empty", tmp_path / "b")])
    data = b"".join(iter(lambda: reader.read(7), b""))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == [name, "empty"]
        found = archive.extractfile(name)
        assert found is not None and found.read() == b"a" * 1000


def test_pictures_are_listed_by_path_with_their_content(tmp_path: Path):
    folder = tmp_path / "generated"
    (folder / "deep").mkdir(parents=True)
    (folder / "ä b.png").write_bytes(b"one")
    (folder / "deep" / "copy.png").write_bytes(b"one")
    (folder / "link.png").symlink_to(folder / "ä b.png")
    found = images.capture(folder)
    assert found is not None
    one = hashlib.sha256(b"one").hexdigest()
    assert json.loads(images.to_json(found.pictures)) == {"ä b.png": one, "deep/copy.png": one}
    assert list(found.by_content) == [one]
    assert found.notes == ("Images: link.png is not a plain file and was left out.",)
    assert images.capture(tmp_path / "none") is None
