"""A desk's start does what the first visitor of a large knowledge base would wait for."""

from __future__ import annotations

import logging

from services.core.errors import Transient
from services.knowledge import inspecting, warming
from services.knowledge.searching import index
from services.knowledge.searching.file import path_of_index
from tests.knowledge_base import load

PATIENCE = 60.0


def test_a_small_knowledge_base_starts_no_thread_and_nothing_is_built(ctx, shop):
    load(ctx)
    assert warming.warm(ctx) is None
    assert not path_of_index(ctx).exists()


def test_a_large_one_is_searched_and_checked_before_anybody_asks(ctx, shop, editor, monkeypatch):
    load(ctx)
    monkeypatch.setattr(warming, "MUCH", 2)
    monkeypatch.setattr(inspecting, "MUCH", 2)
    thread = warming.warm(ctx)
    assert thread is not None and thread.daemon
    thread.join(PATIENCE)
    assert path_of_index(ctx).exists()
    assert not inspecting.report(ctx, editor).checking


def test_what_goes_wrong_is_logged_and_the_other_part_is_still_done(
    ctx, shop, editor, monkeypatch, caplog
):
    load(ctx)
    monkeypatch.setattr(warming, "MUCH", 2)
    monkeypatch.setattr(inspecting, "MUCH", 2)

    def broken(_ctx):
        raise RuntimeError("a bug")

    monkeypatch.setattr(index, "refresh", broken)
    with caplog.at_level(logging.WARNING, "desk.warming"):
        thread = warming.warm(ctx)
        assert thread is not None
        thread.join(PATIENCE)
    assert "will wait a moment longer" in caplog.text
    assert not inspecting.report(ctx, editor).checking


def test_a_shop_that_cannot_be_read_is_logged_and_the_desk_opens(ctx, shop, monkeypatch, caplog):
    def locked(_ctx):
        raise Transient("The shop's database is locked.", "Wait.")

    monkeypatch.setattr(warming, "read_shop", locked)
    with caplog.at_level(logging.WARNING, "desk.warming"):
        assert warming.warm(ctx) is None
    assert "locked" in caplog.text
