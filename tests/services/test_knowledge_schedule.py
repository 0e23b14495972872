"""Releases at a time: frozen when they are scheduled, published once, and never in silence."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from services import publish as door
from services.core import audit
from services.core.access import command_line_actor
from services.core.errors import Conflict, Invalid
from services.knowledge.releasing import activating, folder, releases, schedule
from services.knowledge.releasing.model import ScheduleState
from services.people import accounts
from services.people.model import actor_of
from tests.conftest import desk_settings
from tests.knowledge_base import load
from tests.services.publishing import MODULE, navy_in, publish, say


@pytest.fixture
def settings(tmp_path):
    """A desk that publishes into the folder of the shop's module."""
    return desk_settings(tmp_path, kb_publish_dir="utils")


@pytest.fixture
def place(settings):
    """The folder that the shop reads."""
    path = settings.publish_dir
    path.mkdir(parents=True)
    return path


@pytest.fixture
def ready(desk, shop, place, editor):
    """Release 1 is current, and something else is saved."""
    load(desk)
    publish(desk, editor)
    say(desk, editor, "Navy likes red.")
    return desk


def anybody(_author):
    return ""


def at(desk, **later):
    return desk.now() + timedelta(**later)


def planned(desk, actor, **later):
    return schedule.schedule(desk, actor, releases.preview(desk, actor), at(desk, **later), "Soon")


def test_what_was_seen_is_published_at_its_time_whatever_is_saved_later(
    ready, editor, place, clock
):
    made = planned(ready, editor, hours=2)
    assert (made.release, made.state, made.is_overdue) == (2, ScheduleState.WAITING, False)
    assert releases.release(ready, editor, 2).is_current is False
    say(ready, editor, "Navy, saved after it was scheduled.")
    clock.forward(hours=1, minutes=59)
    assert schedule.run_due(ready, anybody) == () and navy_in(place) != "Navy likes red."
    clock.forward(minutes=1)
    (done,) = schedule.run_due(ready, anybody)
    assert (done.schedule.state, done.schedule.problem) == (ScheduleState.DONE, None)
    assert done.activation.author == "Editor" and done.activation.problem is None
    assert navy_in(place) == "Navy likes red."
    assert schedule.run_due(ready, anybody) == ()


def test_a_desk_that_was_off_does_it_late_and_says_so(ready, editor, place, clock):
    planned(ready, editor, hours=1)
    clock.forward(hours=9)
    (waiting,) = schedule.schedules(ready, editor)
    assert waiting.is_overdue
    (done,) = schedule.run_due(ready, anybody)
    assert "8 hours late" in done.activation.reason and "8 hours late" in done.schedule.problem
    assert navy_in(place) == "Navy likes red."


def test_two_runners_at_once_publish_it_once(ready, editor, place, clock, admin):
    planned(ready, editor, minutes=5)
    clock.forward(minutes=5)
    came = []
    threads = [
        threading.Thread(target=lambda: came.extend(schedule.run_due(ready, anybody)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(came) == 1 and came[0].schedule.state is ScheduleState.DONE
    assert releases.activations(ready, editor).total == 2


def test_a_release_that_was_made_can_be_scheduled_by_its_number(ready, editor, place, clock):
    publish(ready, editor)
    schedule.schedule(ready, editor, 1, at(ready, days=1))
    with pytest.raises(Conflict, match="scheduled already"):
        schedule.schedule(ready, editor, 1, at(ready, days=2))
    clock.forward(days=1)
    (done,) = schedule.run_due(ready, anybody)
    assert done.activation.release == 1 and navy_in(place) == "Navy likes sand and white."


def test_a_cancelled_one_is_never_published(ready, editor, place, clock, admin):
    made = planned(ready, editor, hours=1)
    assert schedule.cancel(ready, editor, made.id).state is ScheduleState.CANCELLED
    clock.forward(hours=1)
    assert schedule.run_due(ready, anybody) == ()
    with pytest.raises(Conflict, match="not waiting any more"):
        schedule.cancel(ready, editor, made.id)
    told = audit.events(ready, admin, audit.AuditFilter(text="release 2"))
    assert [event.action for event in told.events] == ["release.unschedule", "release.schedule"]


@pytest.mark.parametrize("due", ["past", "now", "far", "naive"])
def test_a_time_that_can_not_be_is_refused_and_makes_no_release(ready, editor, due):
    times = {
        "past": at(ready, minutes=-1),
        "now": ready.now(),
        "far": at(ready, days=400),
        "naive": at(ready, hours=1).replace(tzinfo=None),
    }
    with pytest.raises(Invalid, match="nothing was scheduled"):
        schedule.schedule(ready, editor, releases.preview(ready, editor), times[due], "Soon")
    assert releases.recent(ready, editor).total == 1


def test_a_plan_that_moved_or_is_empty_and_a_release_that_is_not_there_are_refused(ready, editor):
    plan = releases.preview(ready, editor)
    say(ready, editor, "Navy likes green.")
    with pytest.raises(Conflict, match="changed since"):
        schedule.schedule(ready, editor, plan, at(ready, hours=1), "Soon")
    with pytest.raises(Invalid, match="notes"):
        schedule.schedule(ready, editor, releases.preview(ready, editor), at(ready, hours=1), " ")
    with pytest.raises(Invalid, match="no release 9"):
        schedule.schedule(ready, editor, 9, at(ready, hours=1))
    publish(ready, editor)
    with pytest.raises(Invalid, match="nothing to publish"):
        schedule.schedule(ready, editor, releases.preview(ready, editor), at(ready, hours=1), "x")
    assert schedule.schedules(ready, editor) == ()


def test_a_folder_that_was_changed_by_hand_fails_it_and_keeps_the_edit(
    ready, editor, place, clock, admin
):
    planned(ready, editor, hours=1)
    module = place / MODULE
    module.write_text(module.read_text("utf-8").replace("Rust likes cream.", "By hand."), "utf-8")
    clock.forward(hours=1)
    (done,) = schedule.run_due(ready, anybody)
    assert done.schedule.state is ScheduleState.FAILED and done.activation is None
    assert "changed by hand" in done.schedule.problem
    assert "By hand." in module.read_text("utf-8")
    (event,) = audit.events(ready, admin, audit.AuditFilter(outcome="failed")).events
    assert event.action == "release.scheduled" and "was not published" in event.summary
    assert schedule.run_due(ready, anybody) == ()


def test_another_publisher_at_work_only_delays_it(ready, editor, place, clock, monkeypatch):
    planned(ready, editor, hours=1)
    clock.forward(hours=1)
    monkeypatch.setattr(folder, "LOCK_SECONDS", 0.1)
    with folder.held(place, ready.settings.instance_dir):
        (done,) = schedule.run_due(ready, anybody)
    assert done.activation is None
    (waiting,) = schedule.schedules(ready, editor)
    assert waiting.state is ScheduleState.WAITING and "to be tried again" in waiting.problem
    (done,) = schedule.run_due(ready, anybody)
    assert done.schedule.state is ScheduleState.DONE


def test_one_that_is_current_already_is_done_and_says_so(ready, editor, place, clock):
    planned(ready, editor, hours=1)
    activating.make_current(ready, editor, 2, "Sooner")
    clock.forward(hours=1)
    (done,) = schedule.run_due(ready, anybody)
    assert done.schedule.state is ScheduleState.DONE and "current already" in done.schedule.problem
    assert releases.activations(ready, editor).total == 2


# --- who may still ---


@pytest.fixture
def account(desk, admin, cheap_bcrypt):
    """A real account that may publish."""
    made, _secret = accounts.create(desk, admin, "ann", "Ann", "editor")
    return made


@pytest.mark.parametrize("lost", ["role", "disabled", "gone"])
def test_whoever_may_not_publish_any_more_publishes_nothing(
    ready, account, admin, place, clock, lost
):
    author = actor_of(account)
    if lost == "gone":
        author = replace(author, id="never-was")
    planned(ready, author, hours=1)
    if lost == "role":
        accounts.set_role(ready, admin, account.id, "manager", account.version)
    if lost == "disabled":
        accounts.disable(ready, admin, account.id, account.version)
    clock.forward(hours=1)
    (done,) = door.run_due(ready)
    assert done.schedule.state is ScheduleState.FAILED
    assert "Nothing was published" in done.schedule.problem and "Ann" in done.schedule.problem
    assert navy_in(place) == "Navy likes sand and white."


def test_whoever_may_and_whoever_has_a_shell_publish(ready, account, place, clock):
    planned(ready, actor_of(account), hours=1)
    clock.forward(hours=1)
    (done,) = door.run_due(ready)
    assert done.schedule.state is ScheduleState.DONE and done.activation.author == "Ann"
    shell = command_line_actor("root")
    schedule.schedule(ready, shell, 1, at(ready, hours=1))
    clock.forward(hours=1)
    (done,) = door.run_due(ready)
    assert done.schedule.state is ScheduleState.DONE
