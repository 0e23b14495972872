"""Archives of the old scripts: none leads elsewhere, fills the disk or runs a program."""

from __future__ import annotations

import io
import pickle
import tarfile

import pytest

from services.core.errors import Broken
from services.protection.legacy import archive
from tests.legacy_bucket import Runs, evil_tar, member


def _evil(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    return member(name, kind, target)


@pytest.mark.parametrize(
    "bad",
    [
        _evil("vector_db/../../escaped"),
        _evil("/tmp/escaped"),
        _evil("../escaped"),
        _evil("other/chroma.sqlite3"),
        _evil("vector_db/link", tarfile.SYMTYPE, "/etc/passwd"),
        _evil("vector_db/hard", tarfile.LNKTYPE, "/etc/passwd"),
        _evil("vector_db/device", tarfile.CHRTYPE),
        _evil("vector_db/pipe", tarfile.FIFOTYPE),
        _evil("vector_db/.hidden"),
        _evil("vector_db/a\\b"),
    ],
    ids=lambda bad: bad.name.replace("/", "_"),
)
def test_an_archive_that_leads_elsewhere_is_refused(tmp_path, bad):
    path = evil_tar(tmp_path / "packed" / "v.tar.gz", bad)
    with pytest.raises(Broken, match="holds a member that no vector folder holds"):
        archive.unpack(path, tmp_path / "packed" / "out", "v.tar.gz")
    assert sorted(found.name for found in (tmp_path / "packed").iterdir()) == ["out", "v.tar.gz"]
    assert list((tmp_path / "packed" / "out").rglob("*")) == []


def test_an_archive_that_names_a_file_twice_is_refused(tmp_path):
    twice = [_evil("vector_db/chroma.sqlite3"), _evil("vector_db/chroma.sqlite3")]
    path = evil_tar(tmp_path / "v.tar.gz", *twice)
    with pytest.raises(Broken, match="twice"):
        archive.unpack(path, tmp_path / "out", "v.tar.gz")


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_MOST_AT_LEAST", 1 << 20)
    path = evil_tar(tmp_path / "v.tar.gz", _evil("vector_db/zeros"), content=bytes(8 << 20))
    with pytest.raises(Broken, match="unpacks to more than any vector folder"):
        archive.unpack(path, tmp_path / "out", "v.tar.gz")


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b not gzip", b"plain text"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "v.tar.gz"
    path.write_bytes(content)
    with pytest.raises(Broken, match="no archive that can be unpacked|holds no chroma.sqlite3"):
        archive.unpack(path, tmp_path / "out", "v.tar.gz")


def _pickled(*pairs: tuple[str, str], protocol: int) -> bytes:
    """What Chroma writes, without Chroma: an object of a class that is only named."""
    made = io.BytesIO()

    class Named(pickle._Pickler):
        def save_global(self, obj, name=None):
            module, name = pairs[0]
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
            self.memoize(obj)

    class PersistentData:
        pass

    data = PersistentData()
    data.__dict__.update(dimensionality=8, id_to_label={"a": 1, "b": 2}, max_seq_id=b"x")
    Named(made, protocol).dump(data)
    return made.getvalue()


CHROMAS = ("chromadb.segment.impl.vector.local_persistent_hnsw", "PersistentData")


@pytest.mark.parametrize(
    ("content", "harmless"),
    [
        (_pickled(CHROMAS, protocol=4), True),
        (_pickled(CHROMAS, protocol=5), True),
        (_pickled(("os", "system"), protocol=4), False),
        (pickle.dumps(Runs(), 0), False),
        (pickle.dumps(Runs(), 2), False),
        (pickle.dumps({"a": [1, 2]}), True),
        (_pickled(CHROMAS, protocol=4) + pickle.dumps(Runs()), False),
        (b"", False),
        (b"cos\nsystem\n(S'touch /tmp/it-ran'\ntR.", False),
        (b"(S'x'\nios\nsystem\n.", False),
    ],
)
def test_a_pickle_is_judged_by_what_it_names(tmp_path, content, harmless):
    path = tmp_path / "index_metadata.pickle"
    path.write_bytes(content)
    assert archive.is_harmless(path) is harmless
