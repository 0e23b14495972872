"""Checks of keys: what customers and the shop's code find an entry by."""

from __future__ import annotations

from collections.abc import Iterator

from services.knowledge.quality.model import Facts, Finding, found
from services.knowledge.sections import KEY_PATTERN, Shape, part_of_entry, title_of
from services.knowledge.validation import KEY, skeleton, suggest_key

FORMULAS = "/outfit_formulas/by_primary_category"

_PROMPTED = {
    "/style_advice": (
        "fit",
        "layering",
        "proportions",
        "texture_mixing",
        "formality_levels",
        "style_archetypes",
    ),
    "/styling_tips": ("build_wardrobe", "accessories", "seasonal_transitions"),
}
"""The keys that the shop's prompt reads in sections that no look-up reads."""


def twins(facts: Facts) -> Iterator[Finding]:
    """Keys that differ only by how they are written."""
    for held in facts.by_section.values():
        first: dict[str, str] = {}
        for entry in held:
            other = first.setdefault(skeleton(entry.key), entry.key)
            if other != entry.key:
                yield found(
                    entry,
                    KEY,
                    f"differs from {other} only by how it is written: the shop takes them for two. "
                    "Keep one.",
                    other,
                )


def style(facts: Facts) -> Iterator[Finding]:
    """Keys that are written unlike their neighbours, or as no look-up writes them."""
    for section, held in facts.by_section.items():
        hyphens = [entry for entry in held if "-" in entry.key]
        joined = [entry for entry in held if "_" in entry.key]
        if hyphens and joined:
            fewer, other = (hyphens, "_") if len(hyphens) <= len(joined) else (joined, "-")
            for entry in fewer:
                yield found(
                    entry,
                    KEY,
                    f"is joined unlike its neighbours in {title_of(section)}, which use {other}.",
                )
        for entry in held:
            if KEY_PATTERN.fullmatch(entry.key):
                continue
            part = part_of_entry(section, entry.key)
            if part is not None and part.shape is not Shape.TEXT:
                better = suggest_key(entry.key)
                yield found(
                    entry,
                    KEY,
                    "would not be found by the shop" + (f"; try {better}." if better else "."),
                )


def unknown_categories(facts: Facts) -> Iterator[Finding]:
    """Formulas whose key names what the shop does not sell."""
    if not facts.categories:
        return  # no products: nothing to compare with
    sold: dict[str, bool] = {}
    for entry in facts.by_section.get(FORMULAS, ()):
        for word in (word for word in entry.key.split("_") if len(word) > 2):
            if word not in sold:
                stem = word.removesuffix("s")
                sold[word] = any(stem in category for category in facts.categories)
            if not sold[word]:
                yield found(entry, KEY, f"finds no product: no category says “{word}”.", word)


def never_read(facts: Facts) -> Iterator[Finding]:
    """Keys that the shop's code does not name, where it looks for fixed ones."""
    for section, known in _PROMPTED.items():
        for entry in facts.by_section.get(section, ()):
            if entry.key not in known:
                yield found(
                    entry,
                    KEY,
                    f"is never read: the shop knows fixed keys of {title_of(section)}, and nobody "
                    "sees this text until its code names the key.",
                )
