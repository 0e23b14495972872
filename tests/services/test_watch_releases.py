"""What was to reach the shop and did not is an alert, a warning only, and ends by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from services import monitor
from services.core.errors import Invalid
from services.knowledge.releasing import activating, releases, schedule, standing, unreached
from services.knowledge.releasing.model import FolderState
from services.watch import alerts
from services.watch.alerting import AlertState
from services.watch.judging import judge
from services.watch.posture import Action, State, Tone
from tests.conftest import desk_settings
from tests.knowledge_base import load
from tests.services.publishing import MODULE, publish, say
from tests.services.test_watch_posture import GOOD, NOW, trouble

HELD = timedelta(minutes=10)


@pytest.fixture
def settings(tmp_path):
    """A desk that publishes into the folder of the shop's module, with somebody to tell."""
    found = desk_settings(tmp_path, kb_publish_dir="utils")
    return found.model_copy(update={"alert_urls": SecretStr("json://127.0.0.1:9/")})


@pytest.fixture
def place(settings):
    """The folder that the shop reads."""
    path = settings.publish_dir
    path.mkdir(parents=True)
    return path


@pytest.fixture
def ready(desk, shop, place, editor):
    """Release 1 is current and written; something else is saved."""
    load(desk)
    publish(desk, editor)
    say(desk, editor, "Navy likes red.")
    return desk


def nobody(_author):
    return "The account of Editor was disabled."


def about_releases(desk, admin, monkeypatch):
    """The alerts of these two rules, after a run of the monitor that reaches nobody."""
    monkeypatch.setattr("services.watch.notify.deliver", lambda _ctx: None)
    monitor.evaluate(desk, admin)
    return [one for one in alerts.standing(desk, admin) if one.rule.startswith("release.")]


def told(desk, admin, alert):
    found = alerts.changes(desk, admin, [alert.id])[alert.id]
    return [change.what.value for change in found if change.delivery != "none"]


def test_all_is_well_with_what_is_published_and_before_anything_is(
    desk, shop, place, editor, admin, monkeypatch
):
    load(desk)
    (place / MODULE).write_text("not python (", "utf-8")
    assert about_releases(desk, admin, monkeypatch) == []
    (place / MODULE).unlink()
    publish(desk, editor)
    assert about_releases(desk, admin, monkeypatch) == []


def test_a_schedule_that_no_runner_carries_out_is_told_once_and_ends_when_one_does(
    ready, editor, admin, clock, monkeypatch
):
    due = ready.now() + timedelta(hours=1)
    schedule.schedule(ready, editor, releases.preview(ready, editor), due, "Soon")
    clock.forward(hours=1, minutes=15)
    assert about_releases(ready, admin, monkeypatch) == []
    clock.forward(minutes=1)
    for _look in range(3):
        (late,) = about_releases(ready, admin, monkeypatch)
    assert (late.rule, late.title) == ("release.late", "Release not published")
    assert (late.state, late.severity) == (AlertState.FIRING, Tone.WARNING)
    assert "Release 2 should have gone to the shop" in late.message and "--due" in late.hint
    schedule.run_due(ready, lambda _author: "")
    assert about_releases(ready, admin, monkeypatch) == []
    assert told(ready, admin, late) == ["firing", "resolved"]


@pytest.mark.parametrize("mend", ["publish", "anew"])
def test_a_schedule_that_failed_is_told_until_somebody_sees_to_it(
    ready, editor, admin, clock, monkeypatch, mend
):
    due = ready.now() + timedelta(hours=1)
    schedule.schedule(ready, editor, releases.preview(ready, editor), due, "Soon")
    later = schedule.schedule(ready, editor, 1, due + timedelta(days=3))
    clock.forward(hours=1)
    schedule.run_due(ready, nobody)
    (failed,) = about_releases(ready, admin, monkeypatch)
    assert "Release 2" in failed.message and "was disabled" in failed.message
    assert [one.needs_somebody for one in schedule.schedules(ready, editor)] == [False, True]
    clock.forward(minutes=1)
    if mend == "publish":
        activating.make_current(ready, editor, 2, "By hand")
    else:
        schedule.schedule(ready, editor, 2, due + timedelta(days=2))
    assert about_releases(ready, admin, monkeypatch) == []
    assert not any(one.needs_somebody for one in schedule.schedules(ready, editor))
    assert later.id in {one.id for one in schedule.schedules(ready, editor)}


def _by_hand(place):
    module = place / MODULE
    module.write_text(module.read_text("utf-8").replace("sand and white", "pink"), "utf-8")


def _gone(place):
    (place / MODULE).unlink()


def _unusable(place):
    (place / MODULE).unlink()
    (place / MODULE).mkdir()


@pytest.mark.parametrize(
    ("harm", "state", "words"),
    [
        (_gone, FolderState.BEHIND, "does not hold release 1 yet"),
        (_by_hand, FolderState.EDITED, "was changed by hand"),
        (_unusable, FolderState.UNUSABLE, "is no file"),
    ],
)
def test_a_folder_that_is_not_as_published_is_told_after_ten_minutes_and_ends_by_itself(
    ready, editor, admin, clock, monkeypatch, place, harm, state, words
):
    assert about_releases(ready, admin, monkeypatch) == []  # and is known as it was
    harm(place)
    found = standing.folder(ready, editor)
    (pending,) = about_releases(ready, admin, monkeypatch)
    assert found.state is state and pending.state is AlertState.PENDING
    clock.forward(minutes=10)
    for _look in range(2):
        (fired,) = about_releases(ready, admin, monkeypatch)
    assert (fired.id, fired.state, fired.severity) == (pending.id, AlertState.FIRING, Tone.WARNING)
    assert words in fired.message and fired.hint == found.hint
    if state is FolderState.UNUSABLE:
        (place / MODULE).rmdir()
    activating.write_again(ready, editor, over_hand_edits=True)
    assert about_releases(ready, admin, monkeypatch) == []
    assert told(ready, admin, fired) == ["firing", "resolved"]


def test_a_shop_that_is_away_ends_no_alert_about_releases(ready, admin, clock, monkeypatch, place):
    _gone(place)
    about_releases(ready, admin, monkeypatch)
    clock.forward(minutes=10)
    (fired,) = about_releases(ready, admin, monkeypatch)

    def away(_ctx):
        raise Invalid("The shop's database is locked.")

    with monkeypatch.context() as hidden:
        hidden.setattr("services.monitor.unreached", away)
        assert [one.id for one in about_releases(ready, admin, hidden)] == [fired.id]
    assert [one.id for one in about_releases(ready, admin, monkeypatch)] == [fired.id]


def test_without_a_folder_nothing_is_looked_at(ready, editor, clock):
    due = ready.now() + timedelta(minutes=1)
    schedule.schedule(ready, editor, releases.preview(ready, editor), due, "Soon")
    clock.forward(hours=9)
    assert unreached.unreached(ready)
    alone = replace(ready, settings=ready.settings.model_copy(update={"kb_publish_dir": None}))
    assert unreached.unreached(alone) == ()


def test_a_folder_that_did_not_change_is_not_asked_again_within_a_minute(ready, monkeypatch):
    assert unreached.unreached(ready) == ()
    asked = []

    def ask(ctx):
        asked.append(ctx)
        return standing.standing(ctx)

    monkeypatch.setattr(unreached, "standing", ask)
    for _look in range(3):
        unreached.unreached(ready)
    assert asked == []
    monkeypatch.setattr(unreached, "_LOOK_AFTER", 0.0)
    unreached.unreached(ready)
    assert len(asked) == 1


def test_releases_are_worth_a_warning_below_whatever_loses_data():
    facts = replace(
        GOOD,
        unreached=(trouble(1),),
        folder_trouble=trouble(),
        store_shares_disk=True,
        damaged=1,
        failed_backup=trouble(1),
    )
    found = judge(facts, NOW).findings
    assert [one.code for one in found] == [
        "failed",
        "damaged older",
        "same disk",
        "release late",
        "unpublished",
    ]
    assert {one.action for one in found[3:]} == {Action.SEE_RELEASES}
    alone = judge(replace(GOOD, unreached=(trouble(1),), folder_trouble=trouble()), NOW)
    assert alone.state is State.SAFE and {one.tone for one in alone.findings} == {Tone.WARNING}
