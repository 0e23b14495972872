"""A knowledge base of any size over the real sections, the same one for the same size.

`fill(ctx, 100_000)` writes it in seconds, with digests and a history that says how it came;
`document(50_000)` is one to import. As a program it fills the shop that the environment names:
`python -m benchmarks.kbdata 100000`.
"""

from __future__ import annotations

import random
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from db.engine import write
from db.knowledge import change_sets, changes, content_digest, kept_skeleton, state
from db.knowledge import entries as table
from services.core.context import Context
from services.knowledge.document import Kind, Row, from_rows, to_rows
from services.knowledge.sections import SECTIONS, Part, Shape

AUTHOR = "Benchmark"
_AT_ONCE = 5_000
_WEIGHTS = {
    "/color_matching/by_color": 30,
    "/fabric_guide": 20,
    "/styling_tips": 12,
    "/style_advice": 8,
    "/occasions": 8,
    "/dress_codes": 2,
    "/dress_styles/necklines": 5,
    "/dress_styles/dress_features": 5,
    "/dress_styles/men_styles": 4,
    "/outfit_formulas/by_primary_category": 6,
}
_VOCABULARY = (
    "amber ash beige blouse blush boot brass brick bronze brushed calf camel canvas cardigan "
    "charcoal chino clay cobalt collar copper coral cotton cream crepe crimson cropped cuff "
    "denim dove dress drape dusk ecru emerald fawn felt flannel fleece flint forest frost garnet "
    "gauze ginger gold graphite hazel heather heel hem honey indigo ink iris ivory jacket jade "
    "jersey khaki knit lace lapel lavender leather lilac lime linen loafer lustre maroon mauve "
    "merino midnight mint moss mulberry mustard navy nude oatmeal ochre olive onyx opal orchid "
    "oxford parka peach pearl pewter pine pleat plum poplin quartz raw ribbed rose ruby russet "
    "rust saddle sage sand sapphire satin scarf scarlet seam shirt silk silver skirt slate "
    "sleeve slim smoke snow soft steel stone stripe suede suit sweater tan taupe teal tweed "
    "twill umber velvet vest violet walnut waist washed wheat white wide wine wool wrap yarn"
)
_BETWEEN = "likes beside under with against before after near without over"
_WORDS, _MIDDLE = (text.split() for text in (_VOCABULARY, _BETWEEN))


def rows(entries: int, seed: int = 4711) -> list[Row]:
    """So many entries, and the groups they lie in; every text of the registry is there once."""
    made = random.Random(seed)
    document: dict[str, Any] = {}
    parts = [part for section in SECTIONS for part in section.parts]
    tables = [part for part in parts if part.shape is not Shape.TEXT]
    left = entries - (len(parts) - len(tables))
    total = sum(_WEIGHTS.values())
    for part in parts:
        if part.shape is Shape.TEXT:
            _put(document, part, _text(made, 60))
            continue
        share = max(left * _WEIGHTS[part.pointer] // total, 0)
        if part is tables[0]:
            share = max(left - sum(left * w // total for w in _WEIGHTS.values()) + share, 0)
        _put(document, part, {key: _body(made, part) for key in _keys(made, share)})
    return to_rows(document)


def document(entries: int, seed: int = 4711) -> dict[str, Any]:
    """The same as one document, for example to import it."""
    return from_rows(rows(entries, seed))


def fill(target: Context | Engine, entries: int, *, seed: int = 4711) -> int:
    """Write so many entries into an empty knowledge base whose tables are there.

    Returns:
        How many were written.
    """
    engine = target.shop if isinstance(target, Context) else target
    wanted = rows(entries, seed)
    with write(engine) as connection:
        if connection.scalar(select(func.count()).select_from(table)):
            raise ValueError("the knowledge base is not empty: nothing was written")
        _write(connection, wanted)
    return sum(1 for row in wanted if row.kind is not Kind.GROUP)


def _write(connection: Connection, wanted: list[Row]) -> None:
    change_set, at = uuid.uuid4().hex, datetime.now(UTC)
    connection.execute(
        insert(change_sets).values(
            id=change_set,
            number=1,
            at=at,
            author_id="benchmark",
            author=AUTHOR,
            author_kind="system",
            kind="import",
            reason="Made for a measurement",
            relayed=True,
            added=sum(1 for row in wanted if row.kind is not Kind.GROUP),
        )
    )
    connection.execute(update(state).values(revision=change_set))
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        said = [
            {"section": row.section, "key": row.key, "kind": row.kind, "body": row.body}
            for row in some
        ]
        ids = connection.scalars(
            insert(table).returning(table.c.id, sort_by_parameter_order=True),
            [
                {
                    **facts,
                    "position": row.position,
                    "version": 1,
                    "updated_at": at,
                    "updated_by": AUTHOR,
                    "digest": content_digest(**facts),
                    "skeleton": kept_skeleton(row.key),
                }
                for row, facts in zip(some, said, strict=True)
            ],
        ).all()
        connection.execute(
            insert(changes),
            [
                {
                    "change_set_id": change_set,
                    "entry_id": row_id,
                    "section": row.section,
                    "key": row.key,
                    "action": "add",
                    "kind": row.kind,
                    "before": None,
                    "after": {
                        "key": row.key,
                        "kind": row.kind,
                        "body": row.body,
                        "position": row.position,
                    },
                }
                for row_id, row in zip(ids, some, strict=True)
            ],
        )


def _put(document: dict[str, Any], part: Part, value: Any) -> None:
    holder = document
    for key in part.path[:-1]:
        holder = holder.setdefault(key, {})
    holder[part.path[-1]] = value


def _keys(made: random.Random, count: int) -> Iterator[str]:
    # The number at the end makes each the only one of its name.
    for number in range(count):
        yield f"{made.choice(_WORDS)}_{made.choice(_WORDS)}_{number:06d}"


def _body(made: random.Random, part: Part) -> str | dict[str, str]:
    if part.shape is Shape.RECORDS:
        return {name: _text(made, 10) for name in part.field_names}
    return _text(made, 25)


def _text(made: random.Random, words: int) -> str:
    count = made.randint(words // 2, words)
    said = [made.choice(_MIDDLE if n % 3 == 1 else _WORDS) for n in range(count)]
    return " ".join(said).capitalize() + "."


def main() -> int:
    """Fill the knowledge base of the desk that the environment names."""
    from services.core.context import open_context
    from services.core.loading import load_settings

    context = open_context(load_settings())
    try:
        print(f"{fill(context, int(sys.argv[1]))} entries")
    finally:
        context.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
