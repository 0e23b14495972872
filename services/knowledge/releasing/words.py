"""What people write about releases."""

from __future__ import annotations

from services.core.errors import Invalid
from services.knowledge.validation import MAX_REASON, text_problem


def sound_words(words: str, what: str, done: str) -> str:
    """Notes or a reason as they are kept.

    Args:
        what: `notes` or `reason`.
        done: what did not happen without them.

    Raises:
        Invalid: they are missing, too long, or hold what can't be shown.
    """
    words = words.strip()
    if not words:
        raise Invalid(
            f"The {what} of a release can't be empty; nothing was {done}.",
            "Say in a sentence what is new, for whoever looks at the list of releases.",
        )
    if len(words) > MAX_REASON or text_problem(words):
        raise Invalid(
            f"The {what} can't be kept: at most {MAX_REASON} characters, without control "
            f"characters. Nothing was {done}.",
            "Shorten it.",
        )
    return words
