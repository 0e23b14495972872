"""Findings that are left for a reason: how long that holds, and that it can be taken back."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest

from services.core import audit
from services.core.audit import AuditFilter
from services.core.databases import read_shop
from services.core.errors import Broken, Conflict, Denied, Invalid
from services.knowledge import changes, dismissing, inspecting
from services.knowledge.changes import Delete, Edit
from tests.conftest import person
from tests.knowledge_base import COLOURS, load, named
from tests.services.postgres_desk import desk_on

DOCUMENT = {
    "color_matching": {"by_color": {"navy": "Navy likes rust.", "moss": "Short."}},
    "dress_styles": {"necklines": {"off-shoulder": {}, "off_shoulder": {}}},
}


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request, tmp_path):
    """A desk with a few findings, on either kind of database."""
    if request.param == "sqlite":
        ctx = request.getfixturevalue("ctx")
        request.getfixturevalue("shop")
    else:
        ctx = desk_on(request.getfixturevalue("postgres_server"), tmp_path / "server")
        request.addfinalizer(ctx.close)
    load(ctx, DOCUMENT)
    return ctx


def finding(ctx, actor, check, key):
    """The finding of a check in an entry, if it counts."""
    found = inspecting.report(ctx, actor).findings
    return next((one for one in found if (one.check, one.key) == (check, key)), None)


def edit(ctx, actor, key, text):
    entry = named(ctx, actor, COLOURS, key)
    changes.save(ctx, actor, [Edit(entry.id, entry.version, {"text": entry.body}, {"text": text})])


def test_a_dismissed_finding_does_not_count_and_says_who_left_it_and_why(filled, editor, admin):
    one = finding(filled, editor, "unknown-colour", "navy")
    assert dismissing.dismiss(filled, editor, [one], "Rust is no colour of ours.") == 1
    report = inspecting.report(filled, editor)
    assert one not in report.findings
    (left,) = report.dismissed
    assert (left.finding, left.reason, left.author) == (
        one,
        "Rust is no colour of ours.",
        editor.name,
    )
    with read_shop(filled) as connection:
        ids = inspecting.ids_with_findings(filled, connection)
    assert one.entry_id not in ids and ids
    assert dismissing.bring_back(filled, editor, [one]) == 1
    assert one in inspecting.report(filled, editor).findings
    noted = audit.events(filled, admin, AuditFilter(actions=("finding.dismiss",))).events
    assert "Rust is no colour of ours." in noted[0].summary
    assert audit.events(filled, admin, AuditFilter(actions=("finding.bring-back",))).total == 1


def test_where_the_text_decides_a_dismissal_holds_until_the_text_is_another(filled, editor):
    one = finding(filled, editor, "unknown-colour", "navy")
    dismissing.dismiss(filled, editor, [one], "Later.")
    edit(filled, editor, "moss", "A text of its own, and long enough.")
    assert finding(filled, editor, "unknown-colour", "navy") is None
    edit(filled, editor, "navy", "Navy likes rust, still.")
    assert finding(filled, editor, "unknown-colour", "navy") == one
    edit(filled, editor, "navy", "Navy likes rust.")
    assert finding(filled, editor, "unknown-colour", "navy") is None


def test_where_a_key_decides_a_dismissal_holds_whatever_the_text_becomes(filled, editor):
    one = finding(filled, editor, "twin-keys", "off_shoulder")
    dismissing.dismiss(filled, editor, [one], "The shop knows both.")
    entry = named(filled, editor, "/dress_styles/necklines", "off_shoulder")
    cells = {"description": "Shows the shoulders, as it says."}
    changes.save(filled, editor, [Edit(entry.id, entry.version, {"description": ""}, cells)])
    assert finding(filled, editor, "twin-keys", "off_shoulder") is None


def test_what_is_old_is_asked_about_again_a_year_later(ctx, shop, editor, clock):
    desk = replace(ctx, clock=clock)
    load(desk, {"fabric_pairing": "Rough beside smooth, always."})
    clock.forward(days=400)
    one = finding(desk, editor, "stale", "fabric_pairing")
    dismissing.dismiss(desk, editor, [one], "Still true.")
    clock.forward(days=300)
    assert finding(desk, editor, "stale", "fabric_pairing") is None
    clock.forward(days=100)
    assert finding(desk, editor, "stale", "fabric_pairing") is not None


def test_dismissed_twice_by_two_people_it_is_dismissed_once_and_the_last_reason_stands(
    filled, editor, admin
):
    one = finding(filled, editor, "unknown-colour", "navy")
    dismissing.dismiss(filled, editor, [one, one], "Mine.")
    dismissing.dismiss(filled, admin, [one], "Mine, rather.")
    (left,) = inspecting.report(filled, editor).dismissed
    assert (left.reason, left.author) == ("Mine, rather.", admin.name)
    assert dismissing.bring_back(filled, editor, [one]) == 1
    assert dismissing.bring_back(filled, editor, [one]) == 0


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 501, "zero \x00 byte"])
def test_no_reason_or_one_that_cannot_be_kept_dismisses_nothing(filled, editor, reason):
    one = finding(filled, editor, "unknown-colour", "navy")
    with pytest.raises(Invalid, match="othing was dismissed"):
        dismissing.dismiss(filled, editor, [one], reason)
    assert finding(filled, editor, "unknown-colour", "navy") == one


def test_the_finding_of_an_entry_that_went_is_not_dismissed_and_none_beside_it(filled, editor):
    gone = finding(filled, editor, "unknown-colour", "navy")
    stays = finding(filled, editor, "twin-keys", "off_shoulder")
    entry = named(filled, editor, COLOURS, "navy")
    changes.save(filled, editor, [Delete(entry.id, entry.version)])
    with pytest.raises(Conflict):
        dismissing.dismiss(filled, editor, [stays, gone], "Both.")
    assert inspecting.report(filled, editor).dismissed == ()


def test_who_only_reads_dismisses_nothing_and_brings_nothing_back(filled, editor):
    one = finding(filled, editor, "unknown-colour", "navy")
    viewer = person("operator")
    for call in (
        lambda: dismissing.dismiss(filled, viewer, [one], "No."),
        lambda: dismissing.bring_back(filled, viewer, [one]),
    ):
        with pytest.raises(Denied):
            call()


def test_the_checks_run_once_a_state_and_again_on_another_day(
    ctx, shop, editor, clock, monkeypatch
):
    desk = replace(ctx, clock=clock)
    load(desk, DOCUMENT)
    runs = []
    real = inspecting.findings
    monkeypatch.setattr(inspecting, "findings", lambda facts: runs.append(1) or real(facts))
    inspecting.report(desk, editor), inspecting.report(desk, editor)
    assert len(runs) == 1
    clock.forward(days=1)
    inspecting.report(desk, editor)
    assert len(runs) == 2
    edit(desk, editor, "moss", "Another text, and a long one.")
    inspecting.report(desk, editor)
    assert len(runs) == 3


def test_of_much_the_last_findings_are_shown_until_the_checks_are_done(
    ctx, shop, editor, monkeypatch
):
    load(ctx, DOCUMENT)
    before = inspecting.report(ctx, editor)
    assert not before.checking
    monkeypatch.setattr(inspecting, "MUCH", 2)
    edit(ctx, editor, "navy", "Navy likes sand and plum.")
    at_work = inspecting.report(ctx, editor)
    assert at_work.checking and at_work.findings == before.findings
    inspecting.wait(ctx, timedelta(seconds=30))
    after = inspecting.report(ctx, editor)
    assert not after.checking
    assert {one.about for one in after.findings if one.check == "unknown-colour"} == {
        "plum",
        "sand",
    }


def test_checks_that_fail_in_their_process_are_said_and_not_run_again_until_something_is_saved(
    ctx, shop, editor, monkeypatch
):
    load(ctx, DOCUMENT)
    monkeypatch.setattr(inspecting, "MUCH", 2)
    runs = []

    real = subprocess.run

    def broken(command, **more):
        runs.append(1)
        return real(command, **{**more, "input": b"no question"})

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", broken)
        inspecting.report(ctx, editor)
        inspecting.wait(ctx, timedelta(seconds=30))
        for _ in range(2):
            with pytest.raises(Broken, match="met a bug"):
                inspecting.report(ctx, editor)
        assert len(runs) == 1
    edit(ctx, editor, "moss", "Another text, and a long one.")
    inspecting.report(ctx, editor)
    inspecting.wait(ctx, timedelta(seconds=30))
    assert inspecting.report(ctx, editor).findings
