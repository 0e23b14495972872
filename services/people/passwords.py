"""Passwords: what is taken, how they are kept, how they are compared."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import bcrypt

from services.core.errors import Invalid

COST = 12
"""bcrypt's work factor: about a third of a second a guess. Tests set it lower."""
MIN_LENGTH = 12
MAX_BYTES = 72
"""bcrypt reads no further; a longer password is refused rather than cut silently."""

_COMMON = re.compile(
    "abc(d|def)?|(super)?admin|administrator|adminadmin|asdfghjkl|changeme|default|dragon|football"
    "|correcthorsebatterystaple|iloveyou|insightshop(admin|desk)?|letmein(please)?|monkey|princess"
    "|pass(phrase|wd|wort)|(my)?password(password|admin)?|qazwsx(edc)?|qwerty(uiop)?|secret|shadow"
    "|sunshine|super(man|user)|test(test)?|trustno|welcome(to)?|whatever|zxcvbnm"
)
_RUNS = ("0123456789012345678901234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjkl")


def check_new(password: str, username: str) -> None:
    """Refuse a password that is too short, too long or easily guessed.

    Args:
        password: as typed.
        username: of the account it is for.

    Raises:
        Invalid: says what is wrong and what to do instead; nothing was changed.
    """
    hint = "Several unrelated words are easy to remember and hard to guess."
    if password != password.strip():
        raise Invalid("A password may not begin or end with a space.", hint)
    if any(unicodedata.category(char) == "Cc" for char in password):
        raise Invalid("A password may not hold tabs or other control characters.", hint)
    if len(password) < MIN_LENGTH:
        raise Invalid(
            f"A password needs at least {MIN_LENGTH} characters; this has {len(password)}.", hint
        )
    if len(_bytes(password)) > MAX_BYTES:
        raise Invalid(
            f"This password is too long: at most {MAX_BYTES} bytes can be used "
            "(accented letters and symbols take two to four).",
            "Use a shorter one.",
        )
    lower = password.casefold()
    if len(username) >= 4 and username.casefold().split("@")[0] in lower:
        raise Invalid("The password contains the user name.", hint)
    word = re.sub(r"[\W\d_]+", "", lower)
    digits = re.sub(r"\D", "", lower)
    plain = (
        (_COMMON.fullmatch(word) is not None)
        or len(set(lower)) < 5
        or any(lower in run * 2 for run in _RUNS)
        or (not word and digits in _RUNS[0])
    )
    if plain:
        raise Invalid("This password is among the first that anybody would try.", hint)


def make_hash(password: str) -> str:
    """The bcrypt hash to keep for a password that `check_new` let pass."""
    return bcrypt.hashpw(_bytes(password), bcrypt.gensalt(COST)).decode("ascii")


def matches(password: str, stored: str | None) -> bool:
    """Whether a typed password is the one behind `stored`; takes the same time either way.

    Args:
        password: as typed.
        stored: the account's hash, or None where there is no account or no password: then a
            hash of nothing anybody can type is compared, so that the time tells nothing.
    """
    typed = _bytes(password)
    fits = len(typed) <= MAX_BYTES and b"\0" not in typed
    known = stored is not None and fits
    against = stored if stored is not None else _nobodys_hash(COST)
    same = bcrypt.checkpw(typed if fits else b"too long", against.encode("ascii"))
    return same and known


@lru_cache(maxsize=4)
def _nobodys_hash(cost: int) -> str:
    return bcrypt.hashpw(bcrypt.gensalt(4), bcrypt.gensalt(cost)).decode("ascii")


def _bytes(password: str) -> bytes:
    # The same letters typed on two systems may arrive composed or decomposed.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
