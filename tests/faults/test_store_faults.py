"""A store that fails in the middle of a backup, a restore or a recovery.

What helps is tried again; where nothing helps, the job fails clearly, within its deadline, and
neither a backup that can't be restored nor half a restore is left. How single requests fail
is tried in tests/stores/test_s3_faults.py.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace

import botocore.endpoint
import pytest

from services import backup, restore
from services.core import jobs
from services.core.context import Context
from services.core.errors import EXIT_NETWORK, EXIT_USAGE, Broken, DeskError
from services.protection.model import PROTECTION_LOCK, Part
from services.protection.rescue import live as live_file
from services.protection.stores import open_store, s3, s3_client
from services.protection.stores.s3_client import Patience
from tests.faults import matrix
from tests.faults import proxy as lines
from tests.faults.either import change, damage, grow, world
from tests.faults.proxy import Proxy, misbehaving
from tests.faults.scene import DATABASE, do, furnish, leftovers
from tests.services.lost import NewMachine, noted

QUICK = Patience(connect_seconds=2, read_seconds=0.5, attempts=3)
PARTS = DATABASE | {Part.IMAGES}  # vectors are sent and fetched as the database is
ALL = [
    lines.REFUSED,
    lines.RESET,
    lines.TRUNCATED,
    lines.STALLED,
    lines.BROKEN,
    lines.SLOW_DOWN,
    lines.EXPIRED,
    lines.SKEWED,
    lines.FULL,
]
PASSING = [lines.REFUSED, lines.RESET, lines.TRUNCATED, lines.BROKEN, lines.SLOW_DOWN]
"""What is worth another try, and is over by then."""
HOPELESS = (lines.EXPIRED, lines.SKEWED)
_MOST_REQUESTS = 40


@pytest.fixture
def line(rclone_server) -> Iterator[Proxy]:
    with misbehaving(rclone_server) as proxy:
        yield proxy


@pytest.fixture
def behind(line, desk_at, rclone_server, monkeypatch) -> Callable[[str], Context]:
    """`behind(column)`: a desk with a shop of some megabytes, its store behind the line."""
    monkeypatch.setattr(live_file, "WATCH_SECONDS", 0.01)
    # The pauses between tries are botocore's; how long they are proves nothing here.
    clock = SimpleNamespace(sleep=lambda _seconds: None, time=time.time)
    monkeypatch.setattr(botocore.endpoint, "time", clock)
    made = s3_client.place_of
    monkeypatch.setattr(
        s3, "place_of", lambda settings, _patience, named: made(settings, QUICK, named)
    )

    def make(column: str) -> Context:
        ctx: Context = desk_at(column, **line.server.settings(rclone_server.make_bucket(), "desk"))
        furnish(ctx)
        grow(ctx, 9_000_000)  # more than one part of an upload
        return ctx

    return make


def _said(fault: lines.Fault, error: DeskError) -> None:
    """A person knows what happened and what to do."""
    assert error.message and error.hint
    code = EXIT_USAGE if fault in HOPELESS else EXIT_NETWORK
    assert error.exit_code == code or isinstance(error, Broken)
    words = {lines.EXPIRED: "credentials", lines.SKEWED: "clock", lines.FULL: "no room"}
    # An answer to HEAD has no body, so it can't say more than that it is forbidden.
    assert words.get(fault, "") in error.message or "(403)" in error.message


def _whole(ctx: Context, actor, seen: Sequence[str] = ()) -> list[str]:
    """Every backup that is listed can be read back in full; gives their ids.

    Args:
        seen: those that were read back before; of these only the newest is read once more,
            which the others share their objects with.
    """
    backup.refresh(ctx, actor)
    listed = [row.id for row in backup.snapshots(ctx, actor).rows]
    for snapshot_id in [each for each in listed if each not in seen[1:]]:
        backup.verify(ctx, actor, snapshot_id)
    return listed


def _failing(
    line: Proxy, fault: lines.Fault, begin: Callable[[], object], work: Callable[[], object]
) -> DeskError:
    """Have the line fail from a request on that chance picks, until the work meets that.

    Args:
        begin: puts everything as it is to be before; while all is well.
        work: what is to fail; how many requests it makes depends on what was sent before.
    """
    after = random.randrange(_MOST_REQUESTS)
    while True:
        line.fail(None)
        begin()
        line.fail(fault, after=after)
        try:
            work()
        except DeskError as error:
            assert line.met
            line.fail(None)
            return error
        assert not line.met, "the work went on as if nothing had happened"
        after = random.randrange(after)


@pytest.mark.parametrize(
    ("place", "column"),
    [
        (matrix.SQLITE_S3, matrix.IN_A_BACKUP),
        (matrix.POSTGRESQL_S3, matrix.IN_A_BACKUP_PG),
    ],
)
def test_a_store_that_fails_during_a_backup_lists_nothing_that_is_not_whole(
    behind, line, operator, place, column
):
    desk = behind(place)
    backup.run(desk, operator)
    before = _whole(desk, operator)

    def begin() -> None:
        nonlocal before
        change(desk)
        before = _whole(desk, operator, before)

    for fault in matrix.some(ALL, 3 if place == matrix.SQLITE_S3 else 1):
        for _ in range(matrix.times(1, 3 if place == matrix.SQLITE_S3 else 2)):
            with matrix.cell(matrix.STORE, fault.words, column):
                failed = _failing(line, fault, begin, lambda: backup.run(desk, operator))
                _said(fault, failed)
                job = jobs.recent(desk, ("backup",))[0]
                assert job.state is jobs.JobState.FAILED and job.error == failed.message
                assert jobs.active(desk, PROTECTION_LOCK) is None
                # A manifest that was stored when the line broke may be listed, and is whole.
                assert len(_whole(desk, operator, before)) - len(before) in (0, 1)
                assert not list(desk.settings.temp_dir.glob("snapshot-*"))
                # Nothing is left behind once the next one is done.
                made = backup.run(desk, operator).result["snapshot"]
                listed = _whole(desk, operator, before)
                assert {made, *before} <= set(listed)
                stored = {found.key for found in open_store(desk.settings).list("data/")}
                assert {key.split("/")[2] for key in stored} <= set(listed)
                before = listed


def test_a_failure_that_passes_is_tried_again(behind, line, operator):
    desk = behind(matrix.SQLITE_S3)
    for fault in matrix.some(PASSING, 2):
        with matrix.cell(matrix.STORE, fault.words, matrix.ONCE):
            change(desk)
            line.fail(fault, once=True)
            made = backup.run(desk, operator).result["snapshot"]
            assert line.met
            good = world(desk)
            damage(desk)
            line.fail(fault, once=True)
            do(desk, operator, made, PARTS)
            assert line.met and world(desk) == good
            line.fail(None)
            assert made in _whole(desk, operator)


@pytest.mark.parametrize(
    ("place", "column"),
    [
        (matrix.SQLITE_S3, matrix.IN_A_RESTORE),
        (matrix.POSTGRESQL_S3, matrix.IN_A_RESTORE_PG),
    ],
)
def test_a_store_that_fails_during_a_restore_leaves_the_old_data_or_the_new(
    behind, line, operator, place, column
):
    desk = behind(place)
    made = backup.run(desk, operator).result["snapshot"]
    good = world(desk)

    bad, plan = good, None

    def begin() -> None:
        """The plan is made while all is well; then the safety snapshot or the data fails."""
        nonlocal bad, plan
        damage(desk)
        change(desk)
        bad, plan = world(desk), restore.preview(desk, operator, made, PARTS)

    for fault in matrix.some(ALL, 3 if place == matrix.SQLITE_S3 else 1):
        for _ in range(matrix.times(1, 3 if place == matrix.SQLITE_S3 else 2)):
            with matrix.cell(matrix.STORE, fault.words, column):
                failed = _failing(
                    line, fault, begin, lambda: restore.run(desk, operator, plan, plan.word)
                )
                _said(fault, failed)
                assert world(desk) == bad
                assert leftovers(desk) == []
                assert jobs.active(desk, PROTECTION_LOCK) is None
                do(desk, operator, made, PARTS)
                assert world(desk) == good
    assert made in _whole(desk, operator)


def test_a_store_that_fails_during_a_recovery_leaves_nothing_that_looks_whole(
    behind, line, operator, tmp_path
):
    desk = behind(matrix.SQLITE_S3)
    made = backup.run(desk, operator)
    manifest = backup.manifest(desk, operator, made.result["snapshot"])
    lost = replace(noted(desk, manifest), audit=[])
    reading = [fault for fault in ALL if "GET" in fault.methods]
    for number, fault in enumerate(matrix.some(reading, 2)):
        machine = NewMachine(tmp_path / f"new{number}", lost)
        machine.home.mkdir()
        with matrix.cell(matrix.STORE, fault.words, matrix.IN_A_RECOVERY):
            line.fail(fault, after=random.randint(0, 6))
            done = machine.run("--from", machine.lost.source, "--fresh", "--yes")
            assert done.returncode in (1, EXIT_NETWORK, EXIT_USAGE) and done.stderr
            assert line.met, "the fault never happened"
            assert not machine.settings.shop_sqlite_path.exists()
            line.fail(None)
            machine.fresh()
            assert machine.equals_the_lost_one()
