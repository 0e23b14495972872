"""A small knowledge base for tests, in words of its own, with every kind of section."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from services.core.access import Actor, system_actor
from services.core.context import Context
from services.knowledge import entries, transfer
from services.knowledge.sections import SECTIONS

COLOURS = "/color_matching/by_color"
FABRICS = "/fabric_guide"

_KEYS = st.one_of(
    st.text(max_size=8),
    st.sampled_from([s.key for s in SECTIONS] + ["by_color", "necklines", "a/b", "~", ""]),
)
_VALUES = st.recursive(
    st.one_of(
        st.text(max_size=20),
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.lists(st.integers(), max_size=3),
    ),
    lambda inner: st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=25,
)
DOCUMENTS = st.dictionaries(_KEYS, _VALUES, max_size=8)


def small_kb() -> dict[str, Any]:
    """Every shape: texts, records, nested sections, multi-line texts with their bytes."""
    return {
        "color_matching": {
            "basics": "\nStart from what is quiet:\n- grey → sand\n- one loud piece\n    ",
            "by_color": {
                "navy": "Navy likes sand and white.",
                "rust": "Rust likes cream.",
                "moss": "Moss likes camel.",
            },
        },
        "style_advice": {"fit": "Shoulders first.", "layering": "Thin under thick."},
        "occasions": {"job_interview": "Plain and pressed."},
        "fabric_guide": {
            "linen": {
                "description": "Cool and crisp.",
                "care": "Wash warm, iron damp.",
                "best_for": "Summer",
                "characteristics": "Creases",
            },
            "wool": {
                "description": "Warm.",
                "care": "Air it.",
                "best_for": "Winter",
                "characteristics": "Springy",
            },
        },
        "fabric_pairing": "Rough beside smooth.",
        "dress_styles": {
            "necklines": {
                "v-neck": {"description": "A point.", "best_for": "Most", "occasions": "Any"}
            },
            "dress_features": {},
        },
        "outfit_formulas": {
            "description": "Use these.",
            "by_primary_category": {"shirt_blouse": "Add trousers."},
            "season_logic": "Light in June.",
        },
        "pattern_rules": {"basics": "One pattern.", "avoid": "Two loud ones."},
    }


def load(ctx: Context, document: dict[str, Any] | None = None) -> dict[str, Any]:
    """Put a document into the knowledge base, as the desk itself."""
    wanted = small_kb() if document is None else document
    transfer.restore_document(ctx, system_actor(), wanted, "for a test")
    return wanted


def named(ctx: Context, actor: Actor, where: str, key: str) -> entries.Entry:
    """One entry by its place and key."""
    page = entries.page(ctx, actor, where, rows=1000)
    return next(entry for entry in page.entries if entry.key == key)


def state(ctx: Context) -> bytes:
    """The whole knowledge base, for comparing before and after."""
    return transfer.canonical_json(ctx.shop)
