"""Releases on the knowledge page: seen first, published once, compared, made current again."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from db.engine import write
from db.knowledge import releases as releases_table
from db.knowledge import schedules as schedules_table
from services.core.access import command_line_actor
from services.knowledge import changes
from services.knowledge.changes import Add, Edit
from services.knowledge.releasing import golden, releases, schedule
from services.knowledge.writing import to_module
from tests.conftest import desk_settings
from tests.knowledge_base import COLOURS, named, small_kb
from tests.pages.people import browser_with, knowledge_desk, open_app, said, token_of
from ui.kb_release_when import moments

MIA = command_line_actor("Mia <b>Moreau</b>")


@pytest.fixture
def settings(tmp_path):
    """A desk that publishes into the shop's folder."""
    (tmp_path / "publish").mkdir()
    return desk_settings(tmp_path, kb_publish_dir=str(tmp_path / "publish"))


@pytest.fixture(autouse=True)
def desk(ctx, shop, monkeypatch):
    """A small knowledge base, and somebody in each role."""
    yield from knowledge_desk(ctx, monkeypatch)


def folder(ctx) -> Path:
    return ctx.settings.publish_dir


def say(ctx, text, key="navy"):
    entry = named(ctx, MIA, COLOURS, key)
    edit = Edit(entry.id, entry.version, {"text": entry.body}, {"text": text})
    changes.save(ctx, MIA, [edit])


def publish(ctx, notes="A release"):
    return releases.publish(ctx, MIA, releases.preview(ctx, MIA), notes)


def numbers(ctx):
    return [one.number for one in releases.recent(ctx, MIA).releases]


def at_releases() -> AppTest:
    app = open_app("knowledge")
    app.segmented_control(key="view").set_value("releases").run()
    assert not app.exception
    return app


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def choose(app: AppTest, row: int = 0) -> AppTest:
    """A row of the list, as the browser says it."""
    key = app.dataframe[0].proto.id.split("-", 2)[2]  # $$ID-<hash>-<key>
    app.session_state[key] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    app.run()
    assert not app.exception
    return app


def told(app: AppTest) -> str:
    """Everything on the screen, headings of messages and shown texts included."""
    headings = [str(one.proto.title) for kind in (app.error, app.warning, app.info) for one in kind]
    return "\n".join([said(app), *headings, *(str(one.proto.body) for one in app.get("html"))])


def keys(app: AppTest) -> set[str]:
    return {button.key for button in app.button}


def test_the_first_release_is_explained_seen_and_published(desk):
    with browser_with(token_of("editor")):
        app = at_releases()
        assert "Nothing is published yet" in said(app)
        press(app, "kb_release_publish")
        assert "Publish release 1" in said(app) and "Navy likes sand" in told(app)
        press(app, "kb_release_do")
        assert "notes of a release can't be empty" in told(app) and numbers(desk) == []
        app.text_area(key="kb_release_notes").set_value("<script>*First*</script>").run()
        press(app, "kb_release_do")
        assert "Release 1 is current" in said(app)
        assert app.text[0].value == "<script>*First*</script>"
    assert numbers(desk) == [1]
    assert (folder(desk) / "fashion_kb.py").exists()


def test_what_a_release_would_change_is_shown_with_the_answers_of_golden_questions(desk):
    publish(desk)
    golden.add_lines(desk, MIA, "navy\twhat **buyers** ask\nrust")
    say(desk, "Navy likes <i>red</i> and white.")
    with browser_with(token_of("editor")):
        app = at_releases()
        assert "1 entry is saved and not published" in said(app)
        press(app, "kb_release_publish")
        assert "**1 of 2 golden questions** is answered otherwise" in said(app)
        assert "what \\*\\*buyers\\*\\* ask" in said(app)
        assert "&lt;i&gt;" in told(app) and "<i>" not in told(app)


def test_a_second_click_publishes_nothing_again(desk):
    publish(desk)
    say(desk, "Otherwise.")
    with browser_with(token_of("editor")):
        app = at_releases()
        press(app, "kb_release_publish")
        app.text_area(key="kb_release_notes").set_value("Once").run()
        panel = app.session_state["kb_release_panel"]
        press(app, "kb_release_do")
        # The second click reaches a page that still shows what the first one was given.
        app.session_state["kb_release_panel"] = panel
        app.run()
        press(app, "kb_release_do")
        assert "Release 2 is current" in said(app)
    assert numbers(desk) == [2, 1]


def test_what_somebody_saved_meanwhile_is_seen_before_it_is_published(desk):
    publish(desk)
    say(desk, "Mine.")
    with browser_with(token_of("editor")):
        app = at_releases()
        press(app, "kb_release_publish")
        app.text_area(key="kb_release_notes").set_value("Kept while I look again").run()
        say(desk, "Theirs.", "rust")
        press(app, "kb_release_do")
        assert "changed since this preview; nothing was published" in told(app)
        assert numbers(desk) == [1] and "kb_release_do" not in keys(app)
        press(app, "kb_release_look_again")
        assert "1 change you have not seen before" in said(app)
        assert app.text_area(key="kb_release_notes").value == "Kept while I look again"
        press(app, "kb_release_do")
    assert numbers(desk) == [2, 1]


def test_a_release_can_be_scheduled_and_cancelled(desk):
    publish(desk)
    say(desk, "For tomorrow.")
    with browser_with(token_of("editor")):
        app = at_releases()
        press(app, "kb_release_publish")
        app.text_area(key="kb_release_notes").set_value("Tomorrow").run()
        app.segmented_control(key="kb_release_when").set_value("At a time").run()
        press(app, "kb_release_do")
        assert "Release 2 goes to the shop on" in said(app)
        (waiting,) = schedule.schedules(desk, MIA)
        assert waiting.due_at > desk.now() and waiting.release == 2
        assert "Release 1 is current" in said(app)
        press(app, f"kb_schedule_cancel_{waiting.id}")
        assert "goes to the shop" not in said(app)


def test_a_time_that_has_passed_can_t_be_chosen(desk):
    publish(desk)
    say(desk, "Late.")
    with browser_with(token_of("editor")):
        app = at_releases()
        press(app, "kb_release_publish")
        app.segmented_control(key="kb_release_when").set_value("At a time").run()
        app.date_input(key="kb_release_when_day").set_value(datetime.now(UTC).date())
        app.time_input(key="kb_release_when_time").set_value(time(0, 0)).run()
        assert "That time has passed" in told(app)
        assert "kb_release_do" not in keys(app)


def test_local_times_are_one_moment_two_where_clocks_go_back_and_none_where_they_skip():
    berlin = ZoneInfo("Europe/Berlin")
    (one,) = moments(date(2026, 6, 1), time(6, 0), berlin)
    assert one == datetime(2026, 6, 1, 4, 0, tzinfo=UTC)
    first, second = moments(date(2026, 10, 25), time(2, 30), berlin)
    assert second - first == timedelta(hours=1)
    assert moments(date(2026, 3, 29), time(2, 30), berlin) == ()


def test_overdue_and_failed_schedules_are_told_with_their_reason(desk):
    publish(desk)
    say(desk, "Otherwise.")
    publish(desk)
    made = schedule.schedule(desk, MIA, 1, desk.now() + timedelta(hours=1))
    with write(desk.shop) as connection:
        late = update(schedules_table).values(due_at=desk.now() - timedelta(hours=2))
        connection.execute(late)
    with browser_with(token_of("manager")):
        app = at_releases()
        assert "Release 1 should have gone to the shop" in said(app)
        assert f"kb_schedule_cancel_{made.id}" not in keys(app)
        with write(desk.shop) as connection:
            failed = update(schedules_table).values(state="failed", problem="The <disk> is full.")
            connection.execute(failed.values(ended_at=desk.now()))
        app.run()
        assert "Release 1 was not published" in said(app) and "disk\\> is full" in said(app)


def test_any_two_releases_compare_and_any_is_made_current_again(desk):
    publish(desk, "First")
    say(desk, "Second text.")
    publish(desk, "Second")
    with browser_with(token_of("editor")):
        app = choose(at_releases())
        press(app, "kb_release_compare")
        assert "From release 1 to release 2" in said(app) and "**1** changed" in said(app)
        press(app, "kb_release_swap")
        assert "From release 2 to release 1" in said(app)
        press(app, "kb_release_back")
        choose(app, 1)
        press(app, "kb_release_again")
        assert "**1** changed beside release 2" in said(app)
        press(app, "kb_release_do")
        assert "reason of a release can't be empty" in told(app)
        app.text_input(key="kb_release_reason").set_value("Second was <wrong>").run()
        press(app, "kb_release_do")
        assert "Release 1 is current" in said(app)
        assert "1 entry is saved and not published" in said(app)
    assert named(desk, MIA, COLOURS, "navy").body == "Second text."
    assert "Navy likes sand" in (folder(desk) / "fashion_kb.py").read_text()


def test_a_release_that_can_t_be_read_is_said_and_the_others_stay_in_reach(desk):
    publish(desk)
    say(desk, "Otherwise.")
    publish(desk)
    with write(desk.shop) as connection:
        damaged = update(releases_table).where(releases_table.c.number == 1)
        connection.execute(damaged.values(document=b"broken", members=b"broken"))
    with browser_with(token_of("editor")):
        app = choose(at_releases(), 1)
        press(app, "kb_release_compare")
        assert "Release 1 is damaged" in told(app)
        press(app, "kb_release_back")
        assert "Release 2 is current" in said(app)


def test_one_gets_away_from_a_current_release_that_can_t_be_read(desk):
    publish(desk)
    say(desk, "Otherwise.")
    publish(desk)
    with write(desk.shop) as connection:
        damaged = update(releases_table).where(releases_table.c.number == 2)
        connection.execute(damaged.values(document=b"broken", members=b"broken"))
    with browser_with(token_of("editor")):
        app = choose(at_releases(), 1)
        press(app, "kb_release_again")
        assert "Release 2 is damaged" in told(app)
        app.text_input(key="kb_release_reason").set_value("2 is damaged").run()
        press(app, "kb_release_do")
        assert "Release 1 is current" in said(app)


def test_a_current_release_that_can_t_be_read_is_published_over(desk):
    golden.add(desk, MIA, "navy")
    publish(desk)
    with write(desk.shop) as connection:
        connection.execute(update(releases_table).values(document=b"broken", members=b"broken"))
    say(desk, "Otherwise.")
    with browser_with(token_of("editor")):
        app = at_releases()
        press(app, "kb_release_publish")
        assert "Release 1 is damaged" in told(app) and "as if it were all new" in told(app)
        assert "16** new" in said(app) and "answered otherwise can't be told" in said(app)
        app.text_area(key="kb_release_notes").set_value("Over it").run()
        press(app, "kb_release_do")
        assert "Release 2 is current" in said(app)


def test_the_last_of_many_changes_is_reached_page_by_page(desk):
    publish(desk)
    many = [Add(COLOURS, f"c{number:03}", {"text": f"Colour {number}."}) for number in range(225)]
    changes.save(desk, MIA, many)
    with browser_with(token_of("editor")):
        app = at_releases()
        press(app, "kb_release_publish")
        assert "c000" in said(app) and "c019" in said(app) and "c020" not in said(app)
        for page, first, last in ((10, "c180", "c199"), (11, "c200", "c219"), (12, "c220", "c224")):
            app.session_state["kb_release_page"] = page
            app.run()
            assert first in said(app) and last in said(app) and "c000" not in said(app)


def test_notes_are_offered_from_the_reasons_of_what_was_changed(desk):
    publish(desk)
    say(desk, "One.")
    entry = named(desk, MIA, COLOURS, "rust")
    edit = Edit(entry.id, entry.version, {"text": entry.body}, {"text": "Two."})
    changes.save(desk, MIA, [edit], "Buyers asked for <copper>")
    with browser_with(token_of("editor")):
        app = at_releases()
        press(app, "kb_release_publish")
        press(app, "kb_release_suggest")
        assert app.text_area(key="kb_release_notes").value == "Buyers asked for <copper>"


def test_hand_edits_in_the_folder_are_offered_for_import_and_never_lost_unasked(desk):
    publish(desk)
    by_hand = small_kb()
    by_hand["color_matching"]["by_color"]["navy"] = "By hand."
    (folder(desk) / "fashion_kb.py").write_bytes(to_module(by_hand))
    say(desk, "Otherwise.", "rust")
    with browser_with(token_of("editor")):
        app = at_releases()
        assert "was changed by hand" in said(app)
        press(app, "kb_release_publish")
        assert "kb_release_do" not in keys(app)
        app.checkbox(key="kb_release_over").check().run()
        assert "kb_release_do" in keys(app)
        press(app, "kb_release_back")
        press(app, "kb_release_import")
        assert app.session_state["view"] == "transfer"
    assert "By hand." in (folder(desk) / "fashion_kb.py").read_text()


def test_a_folder_that_is_gone_is_said_with_what_to_do(desk):
    publish(desk)
    folder(desk).rename(folder(desk).with_name("elsewhere"))
    say(desk, "Otherwise.")
    with browser_with(token_of("editor")):
        app = at_releases()
        assert "can't be written" in said(app) and "Make it, or name" in said(app)
        press(app, "kb_release_publish")
        assert "kb_release_do" not in keys(app) and "kb_release_look_again" in keys(app)
        folder(desk).with_name("elsewhere").rename(folder(desk))
        press(app, "kb_release_look_again")
        assert "kb_release_do" in keys(app)


def test_a_folder_that_lost_its_files_gets_them_again(desk):
    publish(desk)
    for path in folder(desk).iterdir():
        path.unlink()
    with browser_with(token_of("editor")):
        app = at_releases()
        assert "does not hold release 1 yet" in said(app)
        press(app, "kb_release_write")
        assert "holds it" in said(app)
    assert (folder(desk) / "fashion_kb.json").exists()


def test_a_manager_reads_everything_and_is_offered_nothing_they_may_not_do(desk):
    publish(desk, "First")
    say(desk, "Otherwise.")
    publish(desk, "Second")
    say(desk, "Not published.")
    with browser_with(token_of("manager")):
        app = choose(at_releases(), 1)
        assert "Release 2 is current" in said(app) and "First" in said(app)
        own = {key for key in keys(app) if key and key.startswith("kb_release")}
        assert own == {"kb_release_compare"}
        press(app, "kb_release_compare")
        assert "From release 1 to what is saved" in said(app)


def test_the_first_page_says_what_is_not_published_and_leads_there(desk):
    publish(desk)
    with browser_with(token_of("editor")):
        assert "not published" not in said(open_app())
        say(desk, "Otherwise.")
        app = open_app()
        assert "1 entry of the knowledge base is saved and not published" in said(app)


def test_a_question_is_tried_saved_as_golden_and_removed(desk):
    publish(desk)
    with browser_with(token_of("editor")):
        app = open_app("knowledge")
        app.segmented_control(key="view").set_value("try").run()
        press(app, "kb_golden_start")
        began = len(golden.questions(desk, MIA))
        assert began > 2
        app.text_input(key="ask").set_value("Moss <b>").run()
        press(app, "kb_golden_keep")
        assert "A golden question" in said(app)
        say(desk, "Navy now.")
        app.text_input(key="ask").set_value("navy").run()
        assert "The next release answers differently: **as a colour**" in said(app)
        choose(app)
        assert "Release 1" in said(app)
        press(app, "kb_question_remove")
    left = [one.question for one in golden.questions(desk, MIA)]
    assert len(left) == began and "Moss <b>" in left and "navy" not in left
