"""The way out of the sample shop, as the sidebar offers it."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from services import sample
from services.core.context import open_context
from services.core.loading import load_settings
from services.shop.sample_state import is_sample
from tests.conftest import person
from ui import sample_data


@pytest.fixture
def built(tmp_path, admin):
    ctx = open_context(load_settings(env_file=tmp_path / "no.env", desk_home=tmp_path / "desk"))
    sample.build(ctx, admin)
    yield ctx
    ctx.close()


def offer(ctx, actor):
    from ui import sample_data

    sample_data.offer(ctx, actor)


def dialog(ctx, actor):
    """The open dialog, as a click keeps it in a browser."""
    from services.shop.sample_state import is_sample
    from ui import sample_data

    if is_sample(ctx):
        sample_data._remove()


def shown(what, ctx, role) -> AppTest:
    at = AppTest.from_function(what, kwargs={"ctx": ctx, "actor": person(role)}, default_timeout=30)
    at.run()
    assert not at.exception
    return at


def test_an_admin_removes_the_sample_with_the_word_and_puts_it_back(built, monkeypatch):
    monkeypatch.setattr(sample_data, "guard", lambda _permission: (built, person("admin")))
    at = shown(offer, built, "admin")
    at.button(key="sample_remove").click().run()
    assert at.text_input(key="sample_typed") and is_sample(built)

    at = shown(dialog, built, "admin")
    at.text_input(key="sample_typed").input("no")
    at.button(key="sample_remove_now").click().run()
    assert "remove sample" in at.warning[0].value and is_sample(built)
    at.text_input(key="sample_typed").input(sample.REMOVE_WORD)
    at.button(key="sample_remove_now").click().run()
    assert not at.exception and not is_sample(built)

    at = shown(offer, built, "admin")
    at.button(key="sample_put_back").click().run()
    assert not at.exception and is_sample(built)


def test_others_are_not_offered_to_remove_it(built):
    for role in ("editor", "operator", "manager"):
        assert not shown(offer, built, role).button


def test_a_desk_with_a_real_shop_offers_nothing(ctx, shop):
    assert not shown(offer, ctx, "admin").button
