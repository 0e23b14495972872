"""Who else is at it: seen for a minute, never in anybody's way, and no ghost of oneself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from db.control import kb_presence
from db.engine import read
from services.core.access import ROLES, Actor, ActorKind
from services.knowledge.drafting import keeping, offering, presence
from services.knowledge.drafting.model import EntryDraft
from tests.knowledge_base import COLOURS, FABRICS, load, named
from tests.services.postgres_desk import desk_on

EDITOR = Actor("anna", "Anna", ActorKind.ACCOUNT, ROLES["editor"], "editor")
OTHER = Actor("ben", "Ben", ActorKind.ACCOUNT, ROLES["editor"], "editor")


@pytest.fixture
def kb(desk, shop):
    """A desk whose clock the test moves, with a small knowledge base."""
    load(desk)
    return desk


@pytest.fixture
def on_server(postgres_server, tmp_path, clock):
    """The same on a PostgreSQL server."""
    context = desk_on(postgres_server, tmp_path)
    load(context)
    yield replace(context, clock=clock)
    context.close()


def wrote(ctx, key="navy", text="Navy, in a draft.", where=COLOURS):
    """A draft of one text."""
    entry = named(ctx, EDITOR, where, key)
    return entry.id, EntryDraft(entry, entry.key, {"text": text})


def kept(ctx, *drafts, actor=EDITOR):
    """A draft on the server with these entries; gives its id."""
    draft_id = keeping.new_id()
    assert keeping.keep(ctx, actor, draft_id, dict(drafts)) == keeping.Kept(begun=True)
    return draft_id


def count(ctx, table):
    with read(ctx.control) as connection:
        return connection.scalar(select(func.count()).select_from(table))


def both_see_each_other(ctx, clock):
    mine, other, far = (keeping.new_id() for _n in range(3))
    entry = named(ctx, EDITOR, COLOURS, "navy")
    arrived = clock()
    clock.forward(seconds=1)
    presence.here(ctx, EDITOR, mine, COLOURS)
    presence.here(ctx, OTHER, other, COLOURS, entry.id)
    presence.here(ctx, OTHER, far, FABRICS)
    (seen,) = presence.others(ctx, EDITOR, mine, COLOURS, arrived)
    assert (seen.name, seen.is_me, seen.entry_id) == ("Ben", False, entry.id)
    clock.forward(seconds=61)
    assert presence.others(ctx, EDITOR, mine, COLOURS) == ()
    clock.forward(hours=2)
    presence.here(ctx, EDITOR, mine, COLOURS, -1)
    assert count(ctx, kb_presence) == 1


def test_who_has_a_section_open_is_seen_for_a_minute_and_swept(kb, clock):
    both_see_each_other(kb, clock)


def test_presence_is_the_same_on_a_server(on_server, clock):
    both_see_each_other(on_server, clock)


def test_a_tab_that_was_loaded_anew_does_not_see_its_own_ghost_but_does_see_a_second_tab(kb, clock):
    ghost, second = keeping.new_id(), keeping.new_id()
    presence.here(kb, EDITOR, ghost, COLOURS)
    clock.forward(seconds=5)
    mine, arrived = keeping.new_id(), clock()
    assert presence.others(kb, EDITOR, mine, COLOURS, arrived) == ()
    clock.forward(seconds=5)
    presence.here(kb, EDITOR, second, COLOURS)
    assert [one.is_me for one in presence.others(kb, EDITOR, mine, COLOURS, arrived)] == [True]


def test_nobody_speaks_for_the_tab_of_another_account(kb):
    tab = keeping.new_id()
    presence.here(kb, EDITOR, tab, COLOURS)
    presence.here(kb, OTHER, tab, FABRICS)
    (seen,) = presence.others(kb, OTHER, keeping.new_id(), COLOURS)
    assert seen.name == "Anna"


def test_a_draft_whose_tab_was_seen_since_this_one_was_opened_is_told_as_open(kb, clock):
    draft_id = kept(kb, wrote(kb))
    presence.here(kb, EDITOR, draft_id, COLOURS)
    clock.forward(seconds=10)
    arrived = clock()
    assert [one.alive for one in offering.mine(kb, EDITOR, since=arrived)] == [False]
    clock.forward(seconds=10)
    presence.here(kb, EDITOR, draft_id, COLOURS)
    assert [one.alive for one in offering.mine(kb, EDITOR, since=arrived)] == [True]
