"""Search by what is meant: Chroma with its default model, where that is on the machine.

The model (all-MiniLM-L6-v2, as ONNX) is never downloaded: a desk may stand where nothing
leaves the house. An administrator puts it there, see `missing`; until then the search goes by
words. What was worked out lies in a folder of the desk's own, never in the shop's vectors, and
is derived like the full text index beside it: it may be deleted at any time, and what can't be
read is built anew.

No page waits for it. One thread of one process loads the model, embeds what is new or says
something else than its digest, batch by batch, and begins again where it was killed; from then
on it keeps up whenever somebody searches. Until everything is known, the search goes by words
and says how far it is.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from db.knowledge import entries as table
from services.core.context import Context, prepare_folder
from services.core.databases import read_shop
from services.core.errors import DeskError
from services.knowledge.document import Kind
from services.knowledge.entries import Entry, by_id
from services.knowledge.searching.file import path_of_index
from services.knowledge.state import revision

log = logging.getLogger("desk.search")

Embed = Callable[[list[str]], Sequence[Sequence[float]]]
"""Texts in, one vector for each out."""

NEAREST = 60
"""Entries that a question brings at most."""
LIKE = 0.15
"""What is less like the question than this is not shown."""
NEARLY_THE_SAME = 0.92
"""How like each other two entries are that say the same, of at most 1."""
_BATCH = 32
_LONGEST = 2_000
"""Characters; the model reads about 256 words."""
_COLLECTION = "entries-minilm-1"
_MODEL = Path(".cache/chroma/onnx_models/all-MiniLM-L6-v2/onnx")
_FILES = (
    "config.json",
    "model.onnx",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "vocab.txt",
)


def missing(ctx: Context) -> str:
    """Why it can't be searched by meaning, and how that changes; empty where it can.

    Looks at file names only: a page without the model pays nothing for it.
    """
    del ctx
    folder = Path.home() / _MODEL
    if all((folder / name).is_file() for name in _FILES):
        return ""
    return (
        "Chroma's model (all-MiniLM-L6-v2) is not on this machine, and the desk downloads "
        f"nothing by itself. Whoever runs the server puts its files ({', '.join(_FILES)}) into "
        f"{folder}, for the account that runs the desk; Chroma publishes them as onnx.tar.gz."
    )


def load_model() -> Embed:
    """Chroma's default model; where it would download it, it fails instead."""
    from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2

    model: Any = ONNXMiniLM_L6_V2(preferred_providers=["CPUExecutionProvider"])
    model._download = _download_nothing
    return lambda texts: list(model(texts))


def _download_nothing(*_: object, **__: object) -> None:
    raise FileNotFoundError("the model is not there")


def ask(ctx: Context, connection: Connection, question: str) -> Sequence[tuple[int, float]] | str:
    """Entries that mean the like of a question, the nearest first; or why that can't be told.

    Args:
        connection: of a reading transaction on the shop's database.
    """
    if why := missing(ctx):
        return why
    keeper = _keeper(ctx)
    keeper.keep_up(ctx, revision(connection))
    return keeper.ask(question)


def alike(ctx: Context, now: str) -> Sequence[tuple[int, int, float]] | None:
    """Pairs of entries that say the same in other words; None where that is not known (yet).

    Args:
        now: the revision that is saved.
    """
    if missing(ctx):
        return None
    keeper = _keeper(ctx)
    keeper.keep_up(ctx, now)
    return keeper.alike()


def known_for(ctx: Context) -> str:
    """The revision whose meaning is known in this process; empty where none is."""
    with _guard:
        keeper = _keepers.get(path_of_index(ctx))
    return keeper.known if keeper else ""


def forget(ctx: Context) -> None:
    """Throw away what is known of every entry: it tells of texts that are gone for good.

    Where another process works with it, or a thread of this one, that does it before it
    goes on.
    """
    keeper = _keeper(ctx)
    if not keeper.folder.is_dir():
        return
    try:
        keeper.mark.touch(mode=0o600)
        keeper.clear()
    except BlockingIOError:
        log.info("another process throws away what is known of the entries' meaning")
    except OSError as error:
        log.warning("the meaning of the entries could not be thrown away: %s", error)


def wait(ctx: Context, seconds: float) -> None:
    """Wait for the thread that keeps up."""
    thread = _keeper(ctx).thread
    if thread is not None:
        thread.join(seconds)


@dataclass
class _Keeper:
    """What one process knows of one tenant's meanings."""

    folder: Path
    known: str = ""  # the revision that everything is known for
    problem: str = ""
    done: int = 0
    total: int = 0
    thread: threading.Thread | None = None
    _failed: bool = False
    _embed: Embed | None = None
    _client: Any = None
    _collection: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _owned: int | None = None

    def keep_up(self, ctx: Context, now: str) -> None:
        """Have a thread bring it to this revision, unless one is at it."""
        with self._lock:
            if self.known == now or (self.thread is not None and self.thread.is_alive()):
                return
            self.thread = threading.Thread(
                target=self._bring_up, args=(ctx,), name="search-meaning", daemon=True
            )
            self.thread.start()

    @property
    def mark(self) -> Path:
        """Is there where the folder is to be thrown away, by whoever has it."""
        return self.folder.with_suffix(".forget")

    def clear(self) -> None:
        """Throw the folder away, unless a thread works with it.

        Raises:
            BlockingIOError: it is another process's.
        """
        with self._lock:
            if self.thread is not None and self.thread.is_alive():
                return
            ours = self._owned is not None
            self._own()
            self._obey()
            if not ours:
                self.close()

    def _obey(self) -> None:
        if self.mark.exists():
            self._let_go()
            shutil.rmtree(self.folder)
            self.mark.unlink()

    def ask(self, question: str) -> Sequence[tuple[int, float]] | str:
        """The nearest entries, or why they can't be told."""
        if not self.known or self._collection is None or self._embed is None:
            if self.problem:
                return self.problem
            far = f": {self.done:,} of {self.total:,} entries" if self.total else ""
            return f"The meaning of the entries is being worked out{far}."
        try:
            found = self._collection.query(
                query_embeddings=self._embed([question]), n_results=NEAREST, include=["distances"]
            )
        except Exception as error:
            log.warning("the search by meaning failed: %s", error)
            return "The search by meaning failed."
        pairs = zip(found["ids"][0], found["distances"][0], strict=True)
        return [(int(number), 1 - far) for number, far in pairs if 1 - far >= LIKE]

    def alike(self) -> Sequence[tuple[int, int, float]] | None:
        """What was nearly the same when it was embedded, and still says that."""
        if not self.known or self._collection is None:
            return None
        facts = self._facts()
        pairs: dict[tuple[int, int], float] = {}
        for number, one in sorted(facts.items()):
            other = one["near"]
            if other in facts and facts[other]["digest"] == one["of"]:
                pairs[max(number, other), min(number, other)] = one["how"]
        return [(later, earlier, how) for (later, earlier), how in pairs.items()]

    def _bring_up(self, ctx: Context) -> None:
        try:
            self._own()
            self._obey()
            self._embed_changed(ctx, self._open())
            while self.mark.exists():
                self._obey()
                self._embed_changed(ctx, self._open())
            self.problem, self._failed = "", False
        except DeskError as error:
            self.problem = error.message
        except BlockingIOError:
            self.problem = "Another process of the desk works out the meaning of the entries."
        except BaseException as error:  # Chroma's core panics with one
            log.warning("the meaning of the entries could not be worked out", exc_info=True)
            # What is known by now is kept, for a full disk passes; what fails twice is broken.
            if self._failed or self._collection is None:
                shutil.rmtree(self.folder, ignore_errors=True)
            self._failed = True
            self._let_go()
            self.problem = (
                f"The meaning of the entries could not be worked out ({type(error).__name__}); "
                "the next search by meaning tries again."
            )

    def _own(self) -> None:
        """Chroma's folder is for one process: the first that asks keeps it."""
        if self._owned is not None:
            return
        prepare_folder(self.folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        owned = os.open(self.folder.with_suffix(".lock"), flags, 0o600)
        try:
            fcntl.flock(owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(owned)
            raise
        self._owned = owned

    def _open(self) -> Embed:
        """The model and the collection, which takes seconds at first."""
        if self._embed is None:
            self._embed = load_model()
        if self._collection is not None:
            return self._embed
        import chromadb
        from chromadb.config import Settings

        # Chroma's files are as the account makes them; the folder is for it alone (0700). What
        # was thrown away comes back under another name: Chroma remembers a broken folder's.
        prepare_folder(self.folder)
        there = sorted(one for one in self.folder.iterdir() if one.is_dir())
        inner = there[0] if there else self.folder / secrets.token_hex(4)
        self._client = chromadb.PersistentClient(
            path=str(inner), settings=Settings(anonymized_telemetry=False)
        )
        self._collection = self._client.get_or_create_collection(
            _COLLECTION, metadata={"hnsw:space": "cosine"}, embedding_function=None
        )
        return self._embed

    def close(self) -> None:
        """Give the folder back."""
        self._let_go()
        if self._owned is not None:
            os.close(self._owned)
            self._owned = None

    def _let_go(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = self._collection = None
        self.known = ""

    def _embed_changed(self, ctx: Context, embed: Embed) -> None:
        texts = table.c.kind.in_([Kind.TEXT, Kind.RECORD])
        query = select(table.c.id, table.c.digest).where(texts)
        with read_shop(ctx) as connection:
            now = revision(connection)
            wanted = {row.id: row.digest for row in connection.execute(query)}
        facts = self._facts()
        gone = [str(number) for number in facts if number not in wanted]
        for start in range(0, len(gone), 500):
            self._collection.delete(ids=gone[start : start + 500])
        changed = sorted(
            number
            for number, digest in wanted.items()
            if number not in facts or facts[number]["digest"] != digest
        )
        self.done, self.total = len(wanted) - len(changed), len(wanted)
        for some in _batches(changed):
            if self.mark.exists():
                return
            # A reader of an SQLite shop holds up its writers: one for each batch.
            with read_shop(ctx) as connection:
                held = list(by_id(connection, some).values())
            if held:
                self._put(held, wanted, embed)
            self.done += len(some)
        self.known = now

    def _put(self, held: list[Entry], wanted: dict[int, str], embed: Embed) -> None:
        vectors = list(embed([_said(entry) for entry in held]))
        ids = [str(entry.id) for entry in held]
        # Its digest is put down last: killed in between, the batch is done again.
        blank = [dict(_BLANK) for _ in held]
        self._collection.upsert(ids=ids, embeddings=vectors, metadatas=blank)
        found = self._collection.query(query_embeddings=vectors, n_results=3, include=["distances"])
        known = [
            _BLANK | {"digest": entry.digest} | _nearest(entry, near, far, wanted)
            for entry, near, far in zip(held, found["ids"], found["distances"], strict=True)
        ]
        self._collection.update(ids=ids, metadatas=known)

    def _facts(self) -> dict[int, dict[str, Any]]:
        found = self._collection.get(include=["metadatas"])
        return {
            int(number): dict(facts)
            for number, facts in zip(found["ids"], found["metadatas"], strict=True)
        }


_keepers: dict[Path, _Keeper] = {}
_guard = threading.Lock()


def _keeper(ctx: Context) -> _Keeper:
    path = path_of_index(ctx)
    with _guard:
        if path not in _keepers:
            _keepers[path] = _Keeper(path.parent / "meaning")
        return _keepers[path]


_BLANK = {"digest": "", "near": 0, "how": 0.0, "of": ""}


def _nearest(
    entry: Entry, ids: Sequence[str], far: Sequence[float], wanted: dict[int, str]
) -> dict[str, Any]:
    for number, distance in zip(map(int, ids), far, strict=True):
        if number != entry.id and 1 - distance >= NEARLY_THE_SAME and number in wanted:
            return {"near": number, "how": min(1 - distance, 0.99), "of": wanted[number]}
    return {}


def _said(entry: Entry) -> str:
    return ". ".join([entry.key.replace("_", " "), *entry.cells.values()])[:_LONGEST]


def _batches(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), _BATCH):
        yield numbers[start : start + _BATCH]
