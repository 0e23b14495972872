"""Every service function that is told who asks refuses whoever may not, before all else."""

from __future__ import annotations

import importlib
import inspect
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.core.access import Actor, ActorKind, Permission
from services.core.errors import Denied
from services.core.settings import PROJECT_ROOT
from tests.shops import build_shop

NEEDS = {
    "services.backup.days": Permission.OVERVIEW_VIEW,
    "services.backup.manifest": Permission.BACKUP_VIEW,
    "services.backup.open_component": Permission.BACKUP_DOWNLOAD,
    "services.backup.refresh": Permission.BACKUP_VIEW,
    "services.backup.run": Permission.BACKUP_CREATE,
    "services.backup.snapshots": Permission.BACKUP_VIEW,
    "services.backup.start": Permission.BACKUP_CREATE,
    "services.backup.verify": Permission.BACKUP_CREATE,
    "services.core.audit.actions": Permission.AUDIT_VIEW,
    "services.core.audit.actor_names": Permission.AUDIT_VIEW,
    "services.core.audit.events": Permission.AUDIT_VIEW,
    "services.core.audit.export_csv": Permission.AUDIT_VIEW,
    "services.doctor.check": Permission.STORE_MANAGE,
    "services.doctor.sign": Permission.STORE_MANAGE,
    "services.drill.due": Permission.BACKUP_VIEW,
    "services.drill.history": Permission.BACKUP_VIEW,
    "services.drill.run": Permission.DRILL_RUN,
    "services.drill.start": Permission.DRILL_RUN,
    "services.exchange.start": Permission.KB_EDIT,
    "services.knowledge.browsing.authors": Permission.KB_VIEW,
    "services.knowledge.browsing.chosen": Permission.KB_VIEW,
    "services.knowledge.browsing.entry_named": Permission.KB_VIEW,
    "services.knowledge.browsing.free_key": Permission.KB_VIEW,
    "services.knowledge.browsing.ids_of": Permission.KB_VIEW,
    "services.knowledge.browsing.unpublished_ids": Permission.KB_VIEW,
    "services.knowledge.browsing.unpublished_sections": Permission.KB_VIEW,
    "services.knowledge.bulk.apply": Permission.KB_EDIT,
    "services.knowledge.changes.save": Permission.KB_EDIT,
    "services.knowledge.dismissing.bring_back": Permission.KB_EDIT,
    "services.knowledge.dismissing.dismiss": Permission.KB_EDIT,
    "services.knowledge.drafting.keeping.begin_save": Permission.KB_EDIT,
    "services.knowledge.drafting.keeping.keep": Permission.KB_EDIT,
    "services.knowledge.drafting.offering.discard": Permission.KB_EDIT,
    "services.knowledge.drafting.offering.look": Permission.KB_EDIT,
    "services.knowledge.drafting.offering.mine": Permission.KB_EDIT,
    "services.knowledge.drafting.offering.take_over": Permission.KB_EDIT,
    "services.knowledge.drafting.presence.here": Permission.KB_EDIT,
    "services.knowledge.drafting.presence.others": Permission.KB_EDIT,
    "services.knowledge.entries.entry": Permission.KB_VIEW,
    "services.knowledge.entries.page": Permission.KB_VIEW,
    "services.knowledge.entries.sections": Permission.KB_VIEW,
    "services.knowledge.entries.several": Permission.KB_VIEW,
    "services.knowledge.exchange.applying.apply_import": Permission.KB_EDIT,
    "services.knowledge.exchange.applying.carry_out": Permission.KB_EDIT,
    "services.knowledge.exchange.applying.preview": Permission.KB_EDIT,
    "services.knowledge.exchange.applying.preview_of": Permission.KB_EDIT,
    "services.knowledge.exchange.applying.rebase": Permission.KB_EDIT,
    "services.knowledge.exchange.exporting.export": Permission.KB_VIEW,
    "services.knowledge.exchange.job.call_off": Permission.KB_EDIT,
    "services.knowledge.exchange.job.forget": Permission.KB_EDIT,
    "services.knowledge.exchange.job.outcome": Permission.KB_EDIT,
    "services.knowledge.exchange.job.queue": Permission.KB_EDIT,
    "services.knowledge.exchange.job.resume": Permission.KB_EDIT,
    "services.knowledge.history.authors": Permission.KB_VIEW,
    "services.knowledge.history.change_set": Permission.KB_VIEW,
    "services.knowledge.history.details": Permission.KB_VIEW,
    "services.knowledge.history.history": Permission.KB_VIEW,
    "services.knowledge.history.recent": Permission.KB_VIEW,
    "services.knowledge.inspecting.report": Permission.KB_VIEW,
    "services.knowledge.releasing.activating.make_current": Permission.KB_PUBLISH,
    "services.knowledge.releasing.activating.write_again": Permission.KB_PUBLISH,
    "services.knowledge.releasing.comparing.compare": Permission.KB_VIEW,
    "services.knowledge.releasing.comparing.more": Permission.KB_VIEW,
    "services.knowledge.moving.move": Permission.KB_EDIT,
    "services.knowledge.moving.step": Permission.KB_EDIT,
    "services.knowledge.releasing.golden.add": Permission.KB_EDIT,
    "services.knowledge.releasing.golden.add_lines": Permission.KB_EDIT,
    "services.knowledge.releasing.golden.edit_note": Permission.KB_EDIT,
    "services.knowledge.releasing.golden.questions": Permission.KB_VIEW,
    "services.knowledge.releasing.golden.remove": Permission.KB_EDIT,
    "services.knowledge.releasing.releases.activations": Permission.KB_VIEW,
    "services.knowledge.releasing.releases.export_json": Permission.KB_VIEW,
    "services.knowledge.releasing.releases.export_module": Permission.KB_VIEW,
    "services.knowledge.releasing.releases.preview": Permission.KB_VIEW,
    "services.knowledge.releasing.releases.publish": Permission.KB_PUBLISH,
    "services.knowledge.releasing.releases.recent": Permission.KB_VIEW,
    "services.knowledge.releasing.releases.release": Permission.KB_VIEW,
    "services.knowledge.releasing.schedule.cancel": Permission.KB_PUBLISH,
    "services.knowledge.releasing.schedule.schedule": Permission.KB_PUBLISH,
    "services.knowledge.releasing.schedule.schedules": Permission.KB_VIEW,
    "services.knowledge.releasing.standing.folder": Permission.KB_VIEW,
    "services.knowledge.transfer.restore_document": Permission.RESTORE,
    "services.knowledge.releasing.status.status": Permission.KB_VIEW,
    "services.knowledge.searching.find.find": Permission.KB_VIEW,
    "services.knowledge.trying.golden_answers": Permission.KB_VIEW,
    "services.knowledge.trying.starters": Permission.KB_VIEW,
    "services.knowledge.trying.try_out": Permission.KB_VIEW,
    "services.knowledge.recycling.bring_back": Permission.KB_EDIT,
    "services.knowledge.recycling.deleted": Permission.KB_VIEW,
    "services.knowledge.recycling.found_ids": Permission.KB_VIEW,
    "services.knowledge.recycling.purge": Permission.KB_PURGE,
    "services.knowledge.recycling.releases_that_hold": Permission.KB_PURGE,
    "services.knowledge.rollback.preview": Permission.KB_EDIT,
    "services.knowledge.rollback.roll_back": Permission.KB_EDIT,
    "services.knowledge.undoing.preview": Permission.KB_EDIT,
    "services.knowledge.undoing.undo": Permission.KB_EDIT,
    "services.legacy.legacy": Permission.BACKUP_VIEW,
    "services.legacy.remove": Permission.RETENTION_RUN,
    "services.legacy.run_adopt": Permission.BACKUP_CREATE,
    "services.legacy.start_adopt": Permission.BACKUP_CREATE,
    "services.monitor.evaluate": Permission.OVERVIEW_VIEW,
    "services.monitor.gather": Permission.OVERVIEW_VIEW,
    "services.monitor.look": Permission.OVERVIEW_VIEW,
    "services.monitor.posture": Permission.OVERVIEW_VIEW,
    "services.monitor.sample": Permission.MONITORING_VIEW,
    "services.monitor.sample_if_old": Permission.MONITORING_VIEW,
    "services.people.accounts.create": Permission.ACCOUNTS_MANAGE,
    "services.people.accounts.disable": Permission.ACCOUNTS_MANAGE,
    "services.people.accounts.enable": Permission.ACCOUNTS_MANAGE,
    "services.people.accounts.find": Permission.ACCOUNTS_MANAGE,
    "services.people.accounts.list_accounts": Permission.ACCOUNTS_MANAGE,
    "services.people.accounts.reset": Permission.ACCOUNTS_MANAGE,
    "services.people.accounts.set_role": Permission.ACCOUNTS_MANAGE,
    "services.protection.bucket.plan.prepare": Permission.STORE_MANAGE,
    "services.replication.listing": Permission.BACKUP_VIEW,
    "services.replication.run": Permission.BACKUP_CREATE,
    "services.replication.start": Permission.BACKUP_CREATE,
    "services.replication.status": Permission.BACKUP_VIEW,
    "services.restore.preview": Permission.RESTORE,
    "services.restore.run": Permission.RESTORE,
    "services.restore.start": Permission.RESTORE,
    "services.restore.start_undo": Permission.RESTORE,
    "services.restore.undo_offer": Permission.BACKUP_VIEW,
    "services.retention.calendar": Permission.BACKUP_VIEW,
    "services.retention.pin": Permission.BACKUP_PIN,
    "services.retention.plan": Permission.BACKUP_VIEW,
    "services.retention.run": Permission.RETENTION_RUN,
    "services.retention.start": Permission.RETENTION_RUN,
    "services.retention.unpin": Permission.BACKUP_PIN,
    "services.sample.build": Permission.SAMPLE_MANAGE,
    "services.sample.put_back": Permission.SAMPLE_MANAGE,
    "services.sample.remove": Permission.SAMPLE_MANAGE,
    "services.store.apply_bucket": Permission.STORE_MANAGE,
    "services.store.bucket_plan": Permission.BACKUP_VIEW,
    "services.store.facts": Permission.BACKUP_VIEW,
    "services.store.request_retrieval": Permission.RESTORE,
    "services.store.retrieval_options": Permission.BACKUP_VIEW,
    "services.store.retrievals": Permission.BACKUP_VIEW,
    "services.watch.alerts.changes": Permission.MONITORING_VIEW,
    "services.watch.alerts.past": Permission.MONITORING_VIEW,
    "services.watch.alerts.standing": Permission.OVERVIEW_VIEW,
    "services.watch.facts.since_last_visit": Permission.OVERVIEW_VIEW,
    "services.watch.notify.last_beat": Permission.MONITORING_VIEW,
    "services.watch.notify.send_test": Permission.ALERT_MANAGE,
    "services.watch.responses.acknowledge": Permission.ALERT_MANAGE,
    "services.watch.responses.mute": Permission.ALERT_MANAGE,
    "services.watch.responses.unmute": Permission.ALERT_MANAGE,
    "services.watch.samples.newest": Permission.MONITORING_VIEW,
    "services.watch.samples.series": Permission.MONITORING_VIEW,
}
"""What each takes, by the promises to each role. A new function has to be put down here."""

MECHANISM = {
    "services.core.audit.note",  # writes down who did what, for functions that asked already
    "services.core.jobs.create",  # the row of a job, for doors that asked already
    "services.people.sign_in.change_password",  # one's own; asks for the password instead
}


def _with_actor() -> dict[str, Callable[..., Any]]:
    found = {}
    for path in sorted((PROJECT_ROOT / "services").rglob("*.py")):
        module = ".".join(path.relative_to(PROJECT_ROOT).with_suffix("").parts)
        if path.stem.startswith("_"):
            continue
        loaded = importlib.import_module(module)
        for name, function in vars(loaded).items():
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            if inspect.unwrap(function).__module__ != module:
                continue
            if list(inspect.signature(function).parameters)[:2] == ["ctx", "actor"]:
                found[f"{module}.{name}"] = function
    return found


FUNCTIONS = _with_actor()


def test_every_function_that_is_told_who_asks_is_put_down_here():
    assert set(FUNCTIONS) == set(NEEDS) | MECHANISM


@pytest.fixture
def call(ctx) -> Callable[[str, Actor], None]:
    """Call a function as somebody, with arguments that nobody could do anything with."""
    build_shop(ctx.settings.shop_sqlite_path)

    def asked(name: str, actor: Actor) -> None:
        function = FUNCTIONS[name]
        needed = [
            parameter
            for parameter in list(inspect.signature(function).parameters.values())[2:]
            if parameter.default is parameter.empty
        ]
        arguments = {parameter.name: object() for parameter in needed}
        answer = function(ctx, actor, **arguments)
        if hasattr(answer, "__enter__"):
            with answer:
                pass

    return asked


def _contents(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_whoever_holds_everything_else_is_refused_before_anything_happens(ctx, call, name):
    needed = NEEDS[name]
    control = ctx.settings.instance_dir / "control.db"
    before = _contents(control), _contents(ctx.settings.shop_sqlite_path)
    others = frozenset(Permission) - {needed}
    with pytest.raises(Denied, match=rf"may not do this \({needed.value}\)"):
        call(name, Actor("x", "Otto", ActorKind.ACCOUNT, others, "custom"))
    with pytest.raises(Denied, match="^Nobody may not|^Nobody may"):
        call(name, Actor("", "", ActorKind.ACCOUNT))
    assert (_contents(control), _contents(ctx.settings.shop_sqlite_path)) == before
