"""The publish command: what people type, and what cron and monitoring read."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import update

from db.knowledge import schedules
from services import desk as front
from services import publish
from services.knowledge.releasing import activating, releases, schedule
from services.knowledge.releasing.model import ScheduleState
from tests.conftest import desk_settings
from tests.doors import run_door
from tests.knowledge_base import load
from tests.services.publishing import MODULE, navy_in, say
from tests.services.publishing import publish as make_release


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
def door(ctx, monkeypatch, capsys):
    """The command, in this process: its exit code, what it says, what it complains of."""
    for name, value in ctx.settings.as_environment().items():
        monkeypatch.setenv(name, value)

    def run(*arguments):
        capsys.readouterr()
        code = publish.main(list(arguments))
        said = capsys.readouterr()
        answer = json.loads(said.out.splitlines()[-1]) if "--json" in arguments else said.out
        return code, answer, said.err

    return run


def test_the_command_publishes_lists_compares_and_goes_back(ctx, shop, editor, place, door):
    load(ctx)
    code, said, _err = door("--json")
    assert (code, said["release"], said["waiting_to_be_published"]["added"]) == (0, None, 16)
    code, said, _err = door("--json", "--notes", "From a terminal")
    assert (code, said["release"], said["problem"]) == (0, 1, None)
    say(ctx, editor, "Navy likes red.")
    assert door("--json", "--notes", "Red")[1]["release"] == 2
    code, said, _err = door("--json", "--list")
    assert [one["notes"] for one in said["releases"]] == ["Red", "From a terminal"]
    for pair in (("1", "2"), ("1", "saved")):
        code, said, _err = door("--json", "--compare", *pair)
        assert (code, said["edited"]) == (0, 1)
        assert said["changes"][0]["fields"]["text"][1] == "Navy likes red."
    code, said, _err = door("--json", "--again", "1", "--reason", "Too loud")
    assert (code, said["release"]) == (0, 1) and navy_in(place) == "Navy likes sand and white."
    plain = door("--list")[1]
    assert "*    1  20" in plain and "     2  20" in plain
    assert "Release 1 is current." in door("--status")[1]


def test_a_terminal_shows_the_steps_and_nothing_else_does(ctx, shop, place, door, monkeypatch):
    load(ctx)
    assert door("--notes", "From cron")[2] == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    shown = door("--again", "1", "--reason", "x")[2]
    assert "Reading release 1" in shown and "is current already" in shown
    (place / MODULE).unlink()
    assert "Putting the files in their place" in door("--write")[2]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--notes", ""], 1, "can't be empty"),
        (["--again", "7", "--reason", "x"], 1, "There is no release 7"),
        (["--again", "1"], 1, "reason of a release can't be empty"),
        (["--compare", "one", "2"], 1, "is no number of a release"),
        (["--write"], 1, "There is no release yet"),
    ],
)
def test_what_can_not_be_done_is_said_with_an_exit_code(
    ctx, shop, editor, place, door, arguments, code, said
):
    load(ctx)
    came, _answer, err = door(*arguments)
    assert came == code and said in err
    assert door("--due", "--list")[0] == 3


def test_the_status_fails_while_the_shop_does_not_have_the_release(ctx, shop, editor, place, door):
    load(ctx)
    make_release(ctx, editor)
    assert door("--status")[0] == 0
    (place / MODULE).unlink()
    code, said, _err = door("--json", "--status")
    assert (code, said["folder"]) == (1, "behind")
    assert door("--write")[0] == 0 and door("--status")[0] == 0


def test_cron_hears_nothing_unless_a_schedule_failed(ctx, shop, admin, place):
    load(ctx)
    make_release(ctx, admin)
    say(ctx, admin, "Navy likes red.")
    due = ctx.now() + timedelta(hours=1)
    made = schedule.schedule(ctx, admin, releases.preview(ctx, admin), due, "Soon")
    ran = run_door(ctx, "services.publish", "--due")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    with ctx.shop.begin() as connection:
        connection.execute(update(schedules).values(due_at=ctx.now()))
    ran = run_door(ctx, "services.publish", "--due")  # nobody has this account
    assert ran.returncode == 1 and "account of Admin is gone" in ran.stderr and ran.stdout == ""
    (found,) = schedule.schedules(ctx, admin)
    assert (found.id, found.state) == (made.id, ScheduleState.FAILED)


def test_a_desk_that_starts_writes_what_a_killed_one_left(ctx, shop, editor, place, monkeypatch):
    load(ctx)

    def killed(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr(activating, "_bring", killed)
        with pytest.raises(KeyboardInterrupt):
            make_release(ctx, editor)
    assert list(place.iterdir()) == []
    front.prepare(ctx)
    assert navy_in(place) == "Navy likes sand and white."
    (made,) = releases.activations(ctx, editor).activations
    assert made.problem is None and made.written_at is not None
