"""Texts that say nearly the same: by meaning where that is known, else by their words.

By words, in linear time and without chance: a text is known by its runs of three words (of a
long one, by every eighth of them, always the same ones). Whoever shares a third of its runs
with an earlier text is compared with it word by word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from zlib import crc32

from services.knowledge.entries import TEXT, Entry
from services.knowledge.quality.model import Alike, Facts, Finding, found
from services.knowledge.searching.folding import fold
from services.knowledge.sections import title_of

WORDS = 10
"""A shorter text may well stand in two places."""
ALIKE = 0.85
"""Of the words of both texts together, how many stand in both."""
_RUN = 3
_ALL_RUNS = 24
_EVERY = 8
_WORD = re.compile(r"\w+")


def near_duplicates(facts: Facts) -> Iterator[Finding]:
    """Entries that say what another says already, in nearly the same words or in others."""
    by_id = {entry.id: entry for entry in facts.entries}
    alike = by_words(facts) if facts.alike is None else facts.alike
    for number, other_id, how in alike:
        entry, other = by_id.get(number), by_id.get(other_id)
        if entry is None or other is None:
            continue  # what is known by meaning may be a moment older than the entries
        where = f" ({title_of(other.section)})" if other.section != entry.section else ""
        says = "says the same as" if how >= 1 else "says nearly the same as"
        yield found(
            entry,
            TEXT if TEXT in entry.cells else next(iter(entry.cells), TEXT),
            f"{says} {other.key}{where}. Keep one, or say what is different.",
            str(other.id),
        )


def by_words(facts: Facts) -> list[Alike]:
    """Each entry with the earlier one that it resembles most, where there is one."""
    seen: dict[int, int] = {}  # a run of words, and the text that had it last
    same: dict[bytes, int] = {}
    texts: list[tuple[Entry, str]] = []
    codes: dict[str, int] = {}
    alike = []
    for cell in facts.cells:
        if cell.name not in (TEXT, "description"):
            continue  # many fabrics are cared for in the same way
        words = _words(cell.text)
        if len(words) < WORDS:
            continue
        mine = len(texts)
        texts.append((cell.entry, cell.text))
        whole = " ".join(words).encode("utf-8", "surrogatepass")
        if (twin := same.setdefault(whole, mine)) != mine:
            alike.append((cell.entry.id, texts[twin][0].id, 1.0))
            continue
        runs = _runs(words, codes)
        shared = Counter(seen[run] for run in runs if run in seen)
        seen.update(dict.fromkeys(runs, mine))
        best = max(
            ((_overlap(words, _words(texts[other][1])), -other) for other in _likely(shared, runs)),
            default=(0.0, 0),
        )
        if best[0] >= ALIKE:
            # Never 1.0: the words may be the same, in another order.
            alike.append((cell.entry.id, texts[-best[1]][0].id, min(best[0], 0.99)))
    return alike


def _words(text: str) -> list[str]:
    return _WORD.findall(fold(text))


def _runs(words: Sequence[str], codes: dict[str, int]) -> set[int]:
    numbers = []
    for word in words:
        code = codes.get(word)
        if code is None:
            code = codes[word] = crc32(word.encode("utf-8", "surrogatepass"))
        numbers.append(code)
    runs = {
        (a * 1_000_003 ^ b) * 1_000_003 ^ c
        for a, b, c in zip(numbers, numbers[1:], numbers[2:], strict=False)
    }
    if len(words) <= _ALL_RUNS:
        return runs
    return {run for run in runs if run % _EVERY == 0}


def _likely(shared: Counter[int], runs: set[int]) -> Iterator[int]:
    enough = max(2, len(runs) // 3)
    return (other for other, count in shared.most_common(_RUN) if count >= enough)


def _overlap(one: Sequence[str], other: Sequence[str]) -> float:
    if not 0.7 < len(one) / len(other) < 1.43:
        return 0.0
    both = (Counter(one) & Counter(other)).total()
    return 2 * both / (len(one) + len(other))
