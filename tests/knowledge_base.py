"""A small knowledge base for tests, in words of its own, with every kind of section."""

from __future__ import annotations

from typing import Any

from services.core.access import system_actor
from services.core.context import Context
from services.knowledge import transfer


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
