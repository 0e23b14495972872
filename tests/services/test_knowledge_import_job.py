"""A large import in a process of its own: all of it or nothing, whatever ends it, and the door."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from datetime import timedelta

import pytest

from services import exchange
from services.core import audit, jobs
from services.core.doors import unwatched
from services.core.errors import EXIT_DONE, EXIT_FAILED, Broken, Busy, Conflict, Invalid, Refused
from services.core.jobs import JobState
from services.knowledge import changes, entries, history
from services.knowledge.changes import Add
from services.knowledge.document import canonical
from services.knowledge.exchange import applying, job, spool
from services.knowledge.exchange.choosing import Choice
from tests.doors import run_door
from tests.knowledge_base import COLOURS, load, small_kb, state

DATA = canonical({"occasions": {"gala": "Long.", "job_interview": "New."}})
STEPS = ("Reading", "Comparing", "Writing", "Closing")


def queued(ctx, actor, data=DATA, choice=job.ALL, name="kb.json"):
    """An import that waits for its process."""
    plan = applying.preview(ctx, actor, name, data)
    return job.queue(ctx, actor, plan, data, choice, reason="season")


def imports(ctx):
    folder = ctx.settings.instance_dir / "imports"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def imported(ctx):
    return entries.document(ctx.shop)["occasions"] == {"job_interview": "New.", "gala": "Long."}


def test_a_large_import_runs_in_a_process_of_its_own_and_takes_what_was_accepted(ctx, shop, editor):
    load(ctx)
    plan = applying.preview(ctx, editor, "kb.json", DATA)
    kept = Choice(frozenset({"/occasions/job_interview"}))
    started = exchange.start(ctx, editor, plan, DATA, kept, reason="season")
    until = time.monotonic() + 30
    while not jobs.get(ctx, started.id).state.ended and time.monotonic() < until:
        time.sleep(0.05)
    ended = jobs.get(ctx, started.id)
    assert ended.state is JobState.SUCCEEDED, ended.error
    assert entries.document(ctx.shop)["occasions"] == {
        "job_interview": "Plain and pressed.",
        "gala": "Long.",
    }
    found = job.outcome(ctx, editor)
    assert (found.change_set.author, found.change_set.reason) == ("Editor", "season")
    assert (found.change_set.added, found.waits) == (1, False)
    assert imports(ctx) == []
    assert ended.params == {"order": found.change_set.id, "name": "kb.json"}


@pytest.mark.parametrize("moment", [*STEPS, "relay"])
def test_an_import_that_is_killed_is_there_wholly_or_not_at_all_and_says_so(
    ctx, shop, editor, moment
):
    load(ctx)
    before = state(ctx)
    waiting = queued(ctx, editor)
    run_door(ctx, "tests.services.import_child", waiting.id, more={"KILL_AT": moment})
    assert job.running(ctx) is None
    found = job.outcome(ctx, editor)
    assert found.job.state is JobState.INTERRUPTED
    assert imported(ctx) == (moment == "relay")
    if moment == "relay":
        assert found.change_set.total == 2
        assert not found.waits
        with pytest.raises(Invalid, match="was imported"):
            job.resume(ctx, editor, found.order)
        return
    assert state(ctx) == before
    assert (found.change_set, found.waits) == (None, True)
    again = job.resume(ctx, editor, found.order)
    assert (again.same, again.data, again.reason) == (True, DATA, "season")
    applying.apply_import(ctx, editor, again.plan, again.choice)
    assert imported(ctx)


def test_two_imports_at_once_are_one_and_the_other_is_told(ctx, shop, editor, admin):
    load(ctx)
    first = queued(ctx, editor)
    with pytest.raises(Busy, match="asked for by Editor"):
        queued(ctx, admin)
    assert len(imports(ctx)) == 1
    job.work_off(ctx, first, unwatched)
    assert imported(ctx)


def test_a_knowledge_base_that_moved_before_the_job_came_to_it_is_left_alone(
    ctx, shop, editor, admin
):
    load(ctx)
    waiting = queued(ctx, editor)
    changes.save(ctx, admin, [Add(COLOURS, "teal", {"text": "Teal."})])
    before = state(ctx)
    with pytest.raises(Conflict, match="changed since this preview"):
        job.work_off(ctx, waiting, unwatched)
    assert state(ctx) == before
    found = job.outcome(ctx, editor)
    assert found.waits
    assert not job.resume(ctx, editor, found.order).same
    told = audit.events(ctx, admin, audit.AuditFilter(actions=("knowledge.import",)))
    assert [(event.outcome, event.actor_name) for event in told.events] == [("failed", "Editor")]


def test_an_import_that_is_called_off_writes_nothing_and_keeps_its_file(ctx, shop, editor):
    load(ctx)
    before = state(ctx)
    waiting = queued(ctx, editor)
    job.call_off(ctx, editor, waiting.id)
    with pytest.raises(Refused, match="called off"):
        job.work_off(ctx, waiting, unwatched)
    assert state(ctx) == before
    found = job.outcome(ctx, editor)
    assert found.waits
    job.forget(ctx, editor, found.order)
    assert imports(ctx) == []
    assert not job.outcome(ctx, editor).waits


def test_calling_off_at_the_last_moment_still_takes_everything_back(ctx, shop, editor):
    load(ctx)
    before = state(ctx)
    waiting = queued(ctx, editor)

    def watch(text, _fraction):
        if text.startswith("Closing"):
            job.call_off(ctx, editor, waiting.id)

    with pytest.raises(Refused, match="called off"):
        job.work_off(ctx, waiting, watch)
    assert state(ctx) == before
    assert history.recent(ctx, editor).total == 1


def test_a_full_disk_refuses_the_import_and_leaves_nothing_behind(ctx, shop, editor, monkeypatch):
    load(ctx)

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(spool.os, "fsync", full)
    with pytest.raises(Broken, match="No space left"):
        queued(ctx, editor)
    assert imports(ctx) == []
    assert job.running(ctx) is None


def test_a_file_that_waits_is_private_and_its_name_is_no_path(ctx, shop, editor):
    load(ctx)
    name = "../../%2e%2e/\u202egnp\n<b>;rm -rf.json"
    waiting = queued(ctx, editor, name=name)
    (folder,) = imports(ctx)
    assert folder.name == waiting.params["order"]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"file": 0o600, "order.json": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    job.work_off(ctx, waiting, unwatched)
    assert imported(ctx)


def test_a_file_that_was_changed_while_it_waited_is_refused(ctx, shop, editor):
    load(ctx)
    waiting = queued(ctx, editor)
    (folder,) = imports(ctx)
    (folder / "file").write_bytes(DATA.replace(b"Long", b"Evil"))
    with pytest.raises(Invalid, match="no longer here"):
        job.work_off(ctx, waiting, unwatched)
    assert not imported(ctx)


@pytest.mark.parametrize("order", ["", "..", "../../etc", "0" * 31, "x" * 32])
def test_an_order_that_is_no_name_of_one_reaches_no_file(ctx, shop, editor, order):
    with pytest.raises(Invalid):
        job.resume(ctx, editor, order)
    with pytest.raises(Invalid):
        job.forget(ctx, editor, order)


def test_files_are_kept_for_two_days(desk, clock, shop, editor):
    load(desk)
    queued(desk, editor)
    (folder,) = imports(desk)
    made = folder.stat().st_mtime
    for hours, left in ((47, 1), (49, 0)):
        os.utime(folder, (made, (desk.now() - timedelta(hours=hours)).timestamp()))
        spool.sweep(desk)
        assert len(imports(desk)) == left


def test_a_job_of_another_kind_is_not_called_off_here(ctx, shop, editor):
    other = jobs.create(ctx, editor, "backup")
    for job_id in (other.id, "none"):
        with pytest.raises(Invalid, match="no such import"):
            job.call_off(ctx, editor, job_id)


# --- the door ---


def door(ctx, *arguments):
    done = run_door(ctx, "services.exchange", *arguments, "--json")
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_the_door_says_what_an_import_would_do_then_does_it(ctx, shop, tmp_path):
    load(ctx)
    file = tmp_path / "kb.json"
    file.write_bytes(DATA)
    before = state(ctx)
    code, told = door(ctx, "import", str(file), "--dry-run")
    assert (code, told["state"], told["new"], told["changed"]) == (EXIT_DONE, "dry run", 1, 1)
    assert state(ctx) == before
    code, told = door(ctx, "import", str(file), "--reason", "nightly")
    assert (code, told["state"], told["added"]) == (EXIT_DONE, "succeeded", 1)
    assert imported(ctx)
    assert door(ctx, "import", str(file))[1]["state"] == "nothing to do"


def test_the_door_replaces_all_and_lists_what_it_could_not_take(ctx, shop, tmp_path):
    load(ctx)
    file = tmp_path / "kb.json"
    file.write_bytes(b'{"fabric_pairing": "Alone."}')
    assert door(ctx, "import", str(file), "--mode", "all")[0] == EXIT_DONE
    assert entries.document(ctx.shop) == {"fabric_pairing": "Alone."}
    file.write_bytes(b'{"occasions": {"a": 1, "b": "B."}}')
    code, told = door(ctx, "import", str(file))
    assert (code, told["invalid"], told["added"]) == (EXIT_DONE, 1, 1)
    assert "found a number" in told["problems"][0]["message"]
    file.write_bytes(b"{")
    code, told = door(ctx, "import", str(file))
    assert code == EXIT_FAILED and "Nothing was imported" in told["error"]
    assert door(ctx, "import", str(tmp_path / "none.json"))[0] == EXIT_FAILED


def test_the_door_writes_an_export_to_a_file_or_to_the_output(ctx, shop, tmp_path):
    load(ctx)
    target = tmp_path / "out.json"
    code, told = door(ctx, "export", "json", "--to", str(target))
    assert (code, told["entries"]) == (EXIT_DONE, 16)
    assert target.read_bytes() == canonical(small_kb())
    said = run_door(ctx, "services.exchange", "export", "json", "--section", COLOURS)
    assert list(json.loads(said.stdout)["color_matching"]) == ["by_color"]
    assert door(ctx, "export", "json", "--to", str(tmp_path / "no" / "out.json"))[0] == EXIT_FAILED
    assert door(ctx, "export", "json", "--section", "/nowhere", "--to", str(target))[0] != EXIT_DONE
