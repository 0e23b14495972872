"""The door of drills: what is kept, what counts elsewhere, what the command line says."""

from __future__ import annotations

import json
import logging
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from db.control import drills as drills_table
from db.engine import read, write
from services import backup, drill, monitor
from services.core import audit, jobs
from services.core.context import Context, open_context
from services.core.errors import Broken, Conflict, Invalid, Misconfigured, Refused, Transient
from services.core.jobs import JobState
from services.protection.index import catalog
from services.protection.manifest import manifest_key
from services.protection.model import DayMark, Manifest, Storage
from services.protection.proving import prove as proving
from services.protection.stores import open_store
from services.watch.posture import State
from tests.doors import run_door
from tests.drills import (
    differs,
    evidence_files,
    flip,
    furnished_fixtures,
    listed_as,
    stored,
    with_settings,
)

KEY = "a-signing-key-of-more-than-32-characters"


desk, settings, made = furnished_fixtures(vectors=False)


def audited(ctx: Context, admin, action: str) -> list[audit.AuditEvent]:
    found = audit.events(ctx, admin, audit.AuditFilter(actions=(action,)))
    return list(found.events)


def test_a_passed_drill_is_on_the_snapshot_in_the_history_in_the_audit_log_and_in_the_store(
    ctx, made, operator, admin
):
    assert catalog.find(ctx, made.id).verified_at is None
    job = drill.run(ctx, operator, "latest")
    row = catalog.find(ctx, made.id)
    (kept,) = drill.history(ctx, operator)
    assert job.state is JobState.SUCCEEDED and job.result["passed"]
    assert row.verified_at == kept.at and row.drill_seconds == kept.seconds > 0
    assert kept.passed and kept.asked_by == "Operator" and kept.id == job.id
    assert [event.outcome for event in audited(ctx, admin, "drill.passed")] == ["done"]
    (file,) = evidence_files(ctx)
    assert file.relative_to(file.parents[3]).as_posix() == f"drills/default/{made.id}/{job.id}.json"
    told = json.loads(file.read_bytes())
    assert told["passed"] and told["steps"][0]["name"] == "Manifest"
    assert backup.days(ctx, admin, 1)[0].mark is DayMark.VERIFIED
    assert backup.snapshots(ctx, admin, state="verified").total == 1


def test_a_failed_drill_takes_the_mark_away_is_audited_logged_and_puts_the_desk_at_risk(
    ctx, made, operator, admin, caplog
):
    drill.run(ctx, operator, made.id)
    assert monitor.posture(ctx, admin)[1].state is State.SAFE
    flip(stored(ctx, next(c.key for c in made.components if c.name.startswith("database"))))
    with caplog.at_level(logging.ERROR), pytest.raises(Broken, match="test restore of .* failed"):
        drill.run(ctx, operator, made.id)
    row = catalog.find(ctx, made.id)
    assert row.verified_at is None and row.drill_seconds is None
    assert "database.sqlite3.zst" in row.verify_error
    assert [event.outcome for event in audited(ctx, admin, "drill.failed")] == ["failed"]
    assert "test restore" in caplog.text
    facts, posture = monitor.posture(ctx, admin)
    assert posture.state is State.AT_RISK and facts.failed_proofs
    assert any(finding.code in ("proof failed", "damaged") for finding in posture.findings)
    assert [kept.passed for kept in drill.history(ctx, operator, made.id)] == [False, True]
    assert backup.snapshots(ctx, admin, state="damaged").total == 1


def test_reading_back_does_not_take_back_a_proof_that_failed(ctx, made, operator, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(proving.aside, "compare", differs)
        with pytest.raises(Broken):
            drill.run(ctx, operator, made.id)
    row = backup.verify(ctx, operator, made.id)
    assert row.read_back_at is not None and "tables differ" in row.verify_error
    drill.run(ctx, operator, made.id)
    row = catalog.find(ctx, made.id)
    assert row.verify_error is None and row.verified_at is not None


def test_reading_back_something_else_takes_a_proof_away(ctx, made, operator):
    drill.run(ctx, operator, made.id)
    path = stored(ctx, made.components[0].key)
    good = path.read_bytes()
    flip(path)
    with pytest.raises(Broken):
        backup.verify(ctx, operator, made.id)
    assert catalog.find(ctx, made.id).verified_at is None
    path.write_bytes(good)
    assert backup.verify(ctx, operator, made.id).verify_error is None


def test_a_backup_that_vanishes_under_a_drill_is_no_failed_proof(
    ctx, made, operator, admin, monkeypatch
):
    real = proving.fetch

    def pruned(ctx, store, manifest, *rest):
        store.delete(manifest_key(manifest.instance, manifest.id))
        for component in manifest.components:
            store.delete(component.key)
        return real(ctx, store, manifest, *rest)

    monkeypatch.setattr(proving, "fetch", pruned)
    with pytest.raises(Conflict, match="Nothing was proven"):
        drill.run(ctx, operator, made.id)
    assert drill.history(ctx, operator) == () and evidence_files(ctx) == []
    assert catalog.find(ctx, made.id).verify_error is None
    assert len(audited(ctx, admin, "drill.inconclusive")) == 1


def test_a_network_that_fails_is_no_failed_proof(ctx, made, operator, monkeypatch):
    def cut(*_arguments):
        raise Transient("The store does not answer.")

    monkeypatch.setattr(proving, "fetch", cut)
    with pytest.raises(Transient):
        drill.run(ctx, operator, made.id)
    row = catalog.find(ctx, made.id)
    assert row.verify_error is None and drill.history(ctx, operator) == ()


def test_evidence_that_cannot_be_written_to_the_store_still_counts_here(
    ctx, made, operator, monkeypatch
):
    store_class = type(open_store(ctx.settings))

    def full(_self, _key, _source):
        raise Transient("No room.")

    monkeypatch.setattr(store_class, "put", full)
    assert drill.run(ctx, operator, made.id).state is JobState.SUCCEEDED
    assert catalog.find(ctx, made.id).verified_at is not None


def test_a_backup_runs_beside_a_drill_and_no_second_drill_does(ctx, made, operator):
    job = jobs.create(ctx, operator, "drill", lock=drill.LOCK)
    with pytest.raises(Refused, match="A drill is running"):
        drill.run(ctx, operator, made.id)
    assert backup.run(ctx, operator, "manual").state is JobState.SUCCEEDED
    assert drill.current(ctx).id == job.id


def test_what_cannot_be_opened_here_is_refused_with_where_to_run_it(ctx, made, operator):
    listed_as(ctx, encrypted=True)
    with pytest.raises(Misconfigured, match="encrypted") as refused:
        drill.start(ctx, operator, made.id)
    assert "where the identity lies" in refused.value.hint
    listed_as(ctx, encrypted=False, storage=Storage.ARCHIVED.value)
    with pytest.raises(Refused, match="archive"):
        drill.start(ctx, operator, made.id)
    with pytest.raises(Invalid, match="no place"):
        drill.start(ctx, operator, made.id, "elsewhere")
    with pytest.raises(Invalid, match="There is no snapshot"):
        drill.start(ctx, operator, "20200101T000000Z-aaaa")
    assert jobs.recent(ctx, ("drill",), 5) == []


def test_the_second_store_is_drilled_in_turn_and_speaks_for_itself(
    ctx, made, operator, admin, tmp_path
):
    source = Path(ctx.settings.store_url.removeprefix("file:"))
    shutil.copytree(source, tmp_path / "copy")
    here = with_settings(ctx, tmp_path, backup_copy_url=f"file:{tmp_path / 'copy'}")
    drill.run(here, operator, made.id, "copy")
    (kept,) = drill.history(here, operator)
    assert kept.place == "copy" and catalog.find(ctx, made.id).verified_at is None
    flip(tmp_path / "copy" / made.components[0].key)
    with pytest.raises(Broken):
        drill.run(here, operator, made.id, "copy")
    row = catalog.find(ctx, made.id)
    assert row.copy_error and row.verify_error is None
    assert monitor.gather(ctx, admin).failed_proofs
    drill.run(here, operator, made.id)
    assert catalog.find(ctx, made.id).verified_at is not None
    assert monitor.gather(ctx, admin).failed_proofs, "the copy is still unproven"


def test_the_daily_run_takes_copies_in_turn_by_the_proofs_of_the_copies(ctx, made, operator):
    copy = ctx.settings.desk_home.parent / "copy"
    here = with_settings(ctx, copy.parent, backup_copy_url=f"file:{copy}")
    drill.run(here, operator, made.id)
    copy.mkdir()
    assert drill.due(here, operator, "copy").kept == 0, "it has no copy yet"
    with pytest.raises(Conflict, match="has no copy in the second store") as refused:
        drill.run(here, operator, made.id, "copy")
    assert "replication.py" in refused.value.hint
    copy.rmdir()
    shutil.copytree(Path(ctx.settings.store_url.removeprefix("file:")), copy)
    assert drill.due(here, operator).chosen == ()
    assert drill.due(here, operator, "copy").chosen == (made.id,)
    ended = run_door(here, "services.drill", "--oldest-unproven", "--place", "copy", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["drills"][0]["place"] == "copy"
    assert drill.due(here, operator, "copy").chosen == ()
    flip(stored_in(copy, made))
    with pytest.raises(Broken) as failed:
        drill.run(here, operator, made.id, "copy")
    assert "the backup itself is not concerned" in failed.value.hint
    assert drill.due(here, operator, "copy").damaged == 1
    # A copy may be read though what it was made of lies in an archive.
    listed_as(here, storage=Storage.ARCHIVED.value)
    with pytest.raises(Broken):
        drill.run(here, operator, made.id, "copy")


def stored_in(root: Path, made: Manifest) -> Path:
    path = root / made.components[0].key
    path.chmod(0o600)
    return path


def test_a_key_that_came_later_is_no_verdict_on_what_was_made_before(ctx, made, operator, tmp_path):
    drill.run(ctx, operator, made.id)
    here = with_settings(ctx, tmp_path, backup_signing_key=KEY)
    with pytest.raises(Refused, match="not signed") as refused:
        drill.run(here, operator, made.id)
    assert "doctor.py sign" in refused.value.hint
    with pytest.raises(Refused, match="not signed"):
        backup.verify(here, operator, made.id)
    row = catalog.find(ctx, made.id)
    assert row.verified_at is not None and row.verify_error is None
    manifest = stored(ctx, manifest_key("default", made.id))
    manifest.write_bytes(manifest.read_bytes().replace(b'"orders"', b'"sredro"'))
    with pytest.raises(Broken):
        drill.run(here, operator, made.id)
    assert catalog.find(ctx, made.id).verify_error


def test_a_clock_that_was_set_back_silences_no_failed_proof(ctx, made, operator, clock):
    desk = open_context(ctx.settings, clock)
    try:
        clock.now = ctx.now() + timedelta(days=400)
        drill.run(desk, operator, made.id)
        clock.forward(days=-400)
        flip(stored(desk, made.components[0].key))
        with pytest.raises(Broken):
            drill.run(desk, operator, made.id)
        row = catalog.find(desk, made.id)
        assert row.verify_error and row.verified_at is None
    finally:
        desk.close()


def test_what_is_due_names_the_newest_first(ctx, made, manager):
    assert drill.due(ctx, manager).chosen == (made.id,)


def test_the_recovery_time_is_the_newer_of_drill_and_restore(ctx, made, operator, admin):
    assert monitor.gather(ctx, admin).recovery is None
    drill.run(ctx, operator, made.id)
    recovery = monitor.gather(ctx, admin).recovery
    assert recovery.how == "drill" and recovery.seconds == catalog.find(ctx, made.id).drill_seconds


def test_the_browser_starts_a_drill_in_a_process_of_its_own(ctx, made, operator):
    import time

    job = drill.start(ctx, operator, made.id)
    deadline = time.monotonic() + 60
    while not jobs.get(ctx, job.id).state.ended and time.monotonic() < deadline:
        time.sleep(0.1)
    ended = jobs.get(ctx, job.id)
    assert ended.state is JobState.SUCCEEDED and ended.pid != os.getpid()
    assert catalog.find(ctx, made.id).verified_at is not None


def test_drills_of_the_other_tenants_are_none_of_ours(ctx, made, operator):
    drill.run(ctx, operator, made.id)
    with write(ctx.control) as connection:
        connection.execute(update(drills_table).values(instance="eu"))
    assert drill.history(ctx, operator) == ()
    assert monitor.gather(ctx, operator).last_proof is None
    with read(ctx.control) as connection:
        assert connection.scalar(select(drills_table.c.instance)) == "eu"


def test_a_proof_grows_old(ctx, made, operator, admin, clock):
    drill.run(ctx, operator, made.id)
    later = Context(
        ctx.settings, ctx.control, ctx.shop, lambda: ctx.clock() + timedelta(days=31), ctx.host
    )
    codes = {finding.code for finding in monitor.posture(later, admin)[1].findings}
    assert "proof old" in codes


def test_an_encrypted_and_signed_backup_is_proven_where_the_identity_lies(
    ctx, made, tmp_path, operator
):
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    file = tmp_path / "identity.txt"
    file.write_text(f"{identity}\n")
    maker = {"backup_age_recipients": str(identity.to_public()), "backup_signing_key": KEY}
    here = with_settings(ctx, tmp_path, **maker)
    taken = backup.run(here, operator, "manual").result["snapshot"]
    with pytest.raises(Misconfigured, match="no identity"):
        drill.run(here, operator, taken)
    assert not monitor.gather(here, operator).can_open
    keeper = with_settings(ctx, tmp_path, **maker, backup_age_identity_file=file)
    assert drill.run(keeper, operator, taken).state is JobState.SUCCEEDED
    (kept,) = drill.history(keeper, operator, taken)
    assert "signed with a key that is accepted" in kept.steps[0].found
    assert "signature" in json.loads(evidence_files(ctx)[0].read_bytes())
