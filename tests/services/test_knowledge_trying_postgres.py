"""Questions to a knowledge base on PostgreSQL get the answers they get on SQLite."""

from __future__ import annotations

import pytest

from services.core.errors import Invalid
from services.knowledge import trying
from services.knowledge.asking import ask
from services.knowledge.releasing import golden, status
from services.knowledge.trying import Source
from tests.knowledge_base import load, small_kb
from tests.services.postgres_desk import desk_on
from tests.services.publishing import publish, say


@pytest.fixture
def ctx(postgres_server, tmp_path):
    context = desk_on(postgres_server, tmp_path)
    yield context
    context.close()


def test_questions_and_golden_ones_are_answered_from_a_server_as_from_a_file(ctx, editor):
    odd = small_kb() | {"dress_codes": {"party": {"late": "Black."}}}
    load(ctx, odd)
    for question in ("navy", "Silk Wool", "LINEN", "job interview", "party", "%_\\", "ماذا"):
        assert trying.try_out(ctx, editor, question).sides[-1].answers == ask(odd, question)
    golden.add_lines(ctx, editor, "\n".join(f"question {number}" for number in range(498)))
    golden.add(ctx, editor, "Navy")
    for again in ("NAVY", "a\x00b"):
        with pytest.raises(Invalid):
            golden.add(ctx, editor, again)
    assert status.status(ctx, editor).release is None
    publish(ctx, editor)
    assert status.status(ctx, editor).is_clean
    assert trying.golden_answers(ctx, editor).changes == {}
    say(ctx, editor, "Red.")
    found = trying.try_out(ctx, editor, "navy")
    assert [side.source for side in found.sides] == [Source.RELEASE, Source.SAVED]
    assert set(trying.golden_answers(ctx, editor).changes) == {"Navy"}
    assert status.status(ctx, editor).changed == 1
