"""Drills from the command line: what is said, and with which exit code."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from db.control import jobs as rows
from db.engine import write
from services import backup, drill
from services.core import jobs
from services.core.access import command_line_actor
from services.core.context import Context
from services.core.errors import Archived
from services.protection.index import catalog
from services.protection.model import Part
from tests.doors import run_door
from tests.drills import (
    desk_settings,
    flip,
    furnished_fixtures,
    listed_as,
    stored,
)

desk, settings, made = furnished_fixtures(vectors=False)


def cli(ctx: Context, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return run_door(ctx, "services.drill", *arguments, more=more)


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    return json.loads(done.stdout.splitlines()[-1])


def test_the_command_line_proves_the_latest_and_says_so_in_json(ctx, made):
    done = cli(ctx, "latest", "--json")
    told = answer(done)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1
    assert (told["state"], told["snapshot"], told["exit_code"]) == ("passed", made.id, 0)
    assert {step["name"] for step in told["steps"]} >= {"Objects", "Database"}
    assert told["recovery_seconds"] > 0
    assert catalog.find(ctx, made.id).verified_at is not None


def test_the_command_line_says_a_failed_proof_with_code_1_and_is_quiet_otherwise(ctx, made):
    quiet = cli(ctx)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    flip(stored(ctx, made.components[0].key))
    done = cli(ctx, made.id, "--json")
    told = answer(done)
    assert done.returncode == 1 and (told["state"], told["passed"]) == ("failed", False)
    assert [step["name"] for step in told["steps"] if step["passed"] is False] == ["Objects"]
    assert "failed" in done.stderr and made.id in done.stderr


def test_the_daily_run_proves_whose_turn_it_is_and_then_nothing(ctx, made, clock):
    first = answer(cli(ctx, "--oldest-unproven", "--json"))
    assert [one["snapshot"] for one in first["drills"]] == [made.id]
    assert (first["state"], first["exit_code"]) == ("passed", 0)
    second = answer(cli(ctx, "--oldest-unproven", "--json"))
    assert (second["drills"], second["state"], second["exit_code"]) == ([], "passed", 0)


def test_the_daily_run_goes_on_after_a_failure_and_ends_with_code_1(ctx, made, operator):
    good = backup.run(ctx, operator, "manual").result["snapshot"]
    # The desk's own records are never shared: the newer backup has its own.
    (own,) = (each for each in made.components if each.part is Part.CONTROL)
    flip(stored(ctx, own.key))
    done = cli(ctx, "--oldest-unproven", "--json")
    told = answer(done)
    assert {one["snapshot"]: one["state"] for one in told["drills"]} == {
        good: "passed", made.id: "failed",
    }  # fmt: skip
    assert (done.returncode, told["state"]) == (1, "failed")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--oldest-unproven", "latest"), 3),
        (("--place", "moon"), 3),
        (("20200101T000000Z-aaaa",), 1),
        (("--help",), 0),
    ],
)
def test_the_exit_codes_of_what_cannot_be_done(ctx, made, arguments, code):
    assert cli(ctx, *arguments).returncode == code


def test_a_machine_set_up_anew_finds_the_backups_in_the_store(ctx, made, tmp_path):
    other = desk_settings(tmp_path / "fresh", backup_store_url=ctx.settings.store_url)
    done = cli(SimpleNamespace(settings=other), "--json")
    assert done.returncode == 0 and answer(done)["snapshot"] == made.id


def test_an_encrypted_backup_without_its_identity_ends_with_code_3(ctx, made):
    listed_as(ctx, encrypted=True)
    done = cli(ctx, "--oldest-unproven", "--json")
    assert done.returncode == 3 and answer(done)["state"] == "inconclusive"
    assert "BACKUP_AGE_IDENTITY_FILE" in done.stderr


def _daily(ctx: Context, monkeypatch, fault: Exception) -> tuple[list[str], dict[str, object]]:
    """A daily run in which every drill meets a fault; what was tried, and the answer."""
    tried: list[str] = []

    def met(_ctx: Context, job: jobs.Job, _watcher: object) -> jobs.Job:
        tried.append(job.params["snapshot"])
        with write(ctx.control) as connection:
            ended = {"state": "failed", "ended_at": ctx.now()}
            connection.execute(update(rows).where(rows.c.id == job.id).values(**ended))
        raise fault

    monkeypatch.setattr(drill, "_work_off", met)
    said: dict[str, object] = {}
    options = SimpleNamespace(place="store", json=True)
    drill._drill_due(ctx, command_line_actor(), options, said)
    return tried, said


def test_an_archived_backup_gives_its_turn_to_another(ctx, made, operator, monkeypatch):
    others = [backup.run(ctx, operator).result["snapshot"] for _ in range(5)]
    tried, said = _daily(ctx, monkeypatch, Archived("Its pictures lie in an archive."))
    assert said["state"] == "inconclusive"
    assert len(tried) == len(set(tried)) == len(drill.due(ctx, operator).chosen) + drill._SPARE
    assert set(tried) <= {made.id, *others}


def test_a_daily_run_that_is_asked_to_stop_begins_no_other_drill(ctx, made, operator, monkeypatch):
    backup.run(ctx, operator)
    backup.run(ctx, operator)
    assert len(drill.due(ctx, operator).chosen) > 1
    with pytest.raises(jobs.Stopped):
        _daily(ctx, monkeypatch, jobs.Stopped("The job was asked to stop."))
    assert len(jobs.recent(ctx, (drill.KIND,))) == 1
