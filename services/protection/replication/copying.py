"""Copy snapshots to the second store: safe to stop anywhere, and to run again.

An object that is there and right is not sent again. Right means: read and compared, or, for
what a manifest in the second store already names, of the right size (it was read back when
that manifest was written). A manifest arrives last and is the proof that the rest is there.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from services.core.context import Context
from services.core.errors import Broken, DeskError, Refused
from services.core.jobs import JobHandle
from services.protection.index import catalog
from services.protection.manifest import image_key, manifest_key
from services.protection.replication import keeping
from services.protection.replication.listing import (
    ids_in,
    items_of,
    pictures_of,
    read_manifest,
    sizes_in,
)
from services.protection.replication.model import Replicated
from services.protection.replication.objects import Item, look, send
from services.protection.replication.status import copied_ids, forget_copy, record_copy
from services.protection.stores.base import Store
from services.protection.stores.places import require_not_one

_PICTURES_AT_ONCE = 4


def waiting(ctx: Context, first: Store, second: Store) -> list[str]:
    """Snapshots of the first store that the second lacks, or whose copy was found wanting.

    Newest first: should the run be stopped, the newest ones are safe.
    """
    return sorted(ids_in(ctx, first) - (ids_in(ctx, second) & copied_ids(ctx)), reverse=True)


def replicate(
    ctx: Context,
    first: Store,
    second: Store,
    handle: JobHandle,
    ids: Iterable[str],
    *,
    prove: bool = False,
    span: tuple[float, float] = (0.0, 1.0),
) -> Replicated:
    """Copy snapshots, and let those go that retention gave up long enough ago.

    Args:
        ids: which, in this order.
        prove: read every object that is there already, too.
        span: which part of the job's progress this is.

    Raises:
        Broken: some could not be copied; the others were. Each is written down.
        Transient, Misconfigured: a store can't be used; what was copied before that counts.
    """
    second.check()
    require_not_one(first, second)
    run = _Run(ctx, first, second, handle, prove, span)
    wanted = list(ids)
    for number, snapshot_id in enumerate(wanted):
        run.one(snapshot_id, number, len(wanted))
    if run.failed:
        one = next(iter(run.failed.values()))
        raise Broken(
            f"{len(run.failed)} of {len(wanted)} backups could not be copied to {second.url}. "
            f"{one}",
            "The first store is as it was. `python services/replication.py` tries again.",
        )
    keeping.copy_marks(ctx, first, second)
    return run.result(keeping.sweep(ctx, first, second, handle.say))


@dataclass
class _Run:
    """One run over several snapshots."""

    ctx: Context
    first: Store
    second: Store
    handle: JobHandle
    prove: bool
    span: tuple[float, float]
    copied: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    objects: int = 0
    sent_bytes: int = 0
    already: int = 0
    healed: list[str] = field(default_factory=list)
    _current: str = ""
    _named: set[str] = field(default_factory=set)  # keys that a manifest over there names
    _pictures: tuple[dict[str, int], dict[str, int]] | None = None  # first, second: key -> size

    def one(self, snapshot_id: str, number: int, of: int) -> None:
        """Copy one snapshot, and write down how it went.

        Raises:
            Transient, Misconfigured: no use in trying the next.
        """
        self._current = snapshot_id
        began, ended = self._share(number / of), self._share((number + 1) / of)
        self.handle.step(f"Copying {snapshot_id} to the second store", began)
        try:
            self._copy(snapshot_id, began, ended)
        except (Broken, Refused) as error:
            # This snapshot alone: altered, archived, or gone meanwhile.
            self.failed[snapshot_id] = error.message
            self.handle.say(error.message)
            record_copy(self.ctx, snapshot_id, error.message)
        except DeskError as error:
            record_copy(self.ctx, snapshot_id, error.message)
            raise
        else:
            self.copied.append(snapshot_id)
            record_copy(self.ctx, snapshot_id)

    def result(self, removed: tuple[str, ...] = ()) -> Replicated:
        """What was done so far."""
        return Replicated(
            tuple(self.copied),
            self.objects,
            self.sent_bytes,
            self.already,
            self.failed,
            removed,
            tuple(self.healed),
        )

    def _share(self, part: float) -> float:
        begin, end = self.span
        return begin + (end - begin) * part

    def _copy(self, snapshot_id: str, began: float, ended: float) -> None:
        manifest = catalog.load_manifest(self.ctx, self.first, snapshot_id)
        _same, data = read_manifest(self.ctx, self.first, snapshot_id)
        there = self._there(snapshot_id, data)
        items = items_of(manifest)
        pictures = pictures_of(self.ctx, self.first, manifest, self._all_pictures()[0])
        total, done = sum(item.size for item in (*items, *pictures)) or 1, 0

        def moved(count: int) -> None:
            self.handle.progress(began + (ended - began) * min((done + count) / total, 1.0))

        for item in items:
            self._bring(item, there, moved)
            done += item.size
        with ThreadPoolExecutor(_PICTURES_AT_ONCE) as pool:
            try:
                brought = pool.map(self._bring_picture, pictures)
                for item, was_sent in zip(pictures, brought, strict=True):
                    self._count(item, was_sent)
                    done += item.size
                    moved(0)
            finally:
                pool.shutdown(cancel_futures=True)
        key = manifest_key(self.ctx.settings.instance_id, snapshot_id)
        if not there:
            self.second.put(key, io.BytesIO(data))
        with self.second.open(key) as stream:
            if stream.read(len(data) + 1) != data:
                raise Broken(f"{self.second.url} did not give back the manifest that was sent.")
        self._named |= {item.key for item in items}

    def _there(self, snapshot_id: str, data: bytes) -> bool:
        """Whether the same manifest lies over there: then its objects were proven once."""
        try:
            manifest, theirs = read_manifest(self.ctx, self.second, snapshot_id)
        except Broken:
            return False  # none, or a damaged one, which is written anew at the end
        if theirs != data:
            return False
        self._named |= {item.key for item in items_of(manifest)}
        return True

    def _count(self, item: Item, was_sent: bool) -> None:
        self.already += not was_sent
        self.objects += was_sent
        self.sent_bytes += item.size * was_sent

    def _bring(self, item: Item, known: bool, moved: Callable[[int], None]) -> None:
        found = self.second.stat(item.key)
        if found is not None and found.size == item.size:
            trusted = (known or item.key in self._named) and not self.prove
            if trusted or self._fits(item):
                self._count(item, False)
                return
        if known:
            self._found_wanting(item)
        send(self.first, self.second, item, moved)
        self._count(item, True)

    def _bring_picture(self, item: Item) -> bool:
        """Pictures are complete or absent, and named by their content: the size tells.

        Returns:
            Whether it had to be sent.
        """
        _first, second = self._all_pictures()
        size = second.get(item.key)
        if size == item.size and (not self.prove or self._fits(item)):
            return False
        if size is not None:
            self._found_wanting(item)
        send(self.first, self.second, item, lambda _count: None)
        second[item.key] = item.size
        return True

    def _found_wanting(self, item: Item) -> None:
        why = f"The copy of {item.name} in {self.second.url} was missing or altered."
        forget_copy(self.ctx, self._current, why)
        self.healed.append(f"{why} It was sent again.")
        self.handle.say(f"{why} It is sent again.")

    def _fits(self, item: Item) -> bool:
        """Whether what lies over there is the object, by its content."""
        found = look(self.second, item.key)
        return found is not None and found.fits(item)

    def _all_pictures(self) -> tuple[dict[str, int], dict[str, int]]:
        if self._pictures is None:
            prefix = image_key(self.ctx.settings.instance_id, "")
            self._pictures = sizes_in(self.first, prefix), sizes_in(self.second, prefix)
        return self._pictures
