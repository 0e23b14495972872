"""Names of exported files, and what the name of a file says about its contents."""

from __future__ import annotations

import re

from services.knowledge.exchange.model import Format
from services.knowledge.sections import SECTIONS, path_of

STEM = "fashion_kb"

MIME = {
    Format.MODULE: "text/x-python",
    Format.JSON: "application/json",
    Format.YAML: "application/yaml",
    Format.CSV: "text/csv",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

_COPY = re.compile(r"(?:[ _-]*(?:\(\d+\)|copy|kopie))+$", re.IGNORECASE)


def file_name(format: Format, part: str | None = None) -> str:
    """What an export is called."""
    stem = STEM if part is None else f"{STEM}-{slug(part)}"
    return f"{stem}.{format.value}"


def slug(where: str) -> str:
    """A pointer as a part of a file name: `color_matching.by_color`."""
    words = (re.sub(r"[^a-z0-9_-]+", "_", key.lower())[:60] for key in path_of(where))
    return ".".join(words)[:120] or "part"


def told_part(name: str) -> str:
    """The slug of the part that the name of a file tells; empty when it tells none."""
    stem = name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
    stem = _COPY.sub("", stem.strip())
    own = stem.lower().startswith(STEM + "-")
    return stem[len(STEM) + 1 :].lower() if own else stem.lower()


def names_part(name: str) -> bool:
    """Whether a file is called as the export of a part is, whichever part it was."""
    return name.replace("\\", "/").rpartition("/")[2].lower().startswith(STEM + "-")


def part_of_name(name: str) -> str | None:
    """The registered part that a file is named after."""
    return _BY_SLUG.get(told_part(name))


_BY_SLUG = {slug(part.pointer): part.pointer for section in SECTIONS for part in section.parts}
