"""The bytes of a manifest and their signature: HMAC-SHA256 over everything else in it.

Whoever can write to the store but does not hold the key can neither make a manifest nor
change one. The signature covers the digest of every object, so it covers them too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Any, Literal

from services.core.errors import Broken
from services.protection.sealing.keys import Keys, key_id

MAX_MANIFEST_BYTES = 16 * 1024 * 1024
"""A real one has some kilobytes; more is not read."""
SIGNATURE = "signature"
SignatureState = Literal["signed", "unsigned", "wrong"]
_ALGORITHM = "hmac-sha256"
_KEY_ID = re.compile(r"[0-9a-f]{16}")


class Unsigned(Broken):
    """No key that this machine was given signed it."""


def signed(data: bytes, keys: Keys) -> bytes:
    """A manifest with a signature of the first key in place of what it had; as it is where
    there is no key.

    Raises:
        Broken: it is no manifest.
    """
    if not keys.signing:
        return data
    values = parsed(data)
    values.pop(SIGNATURE, None)
    values[SIGNATURE] = {
        "algorithm": _ALGORITHM,
        "key_id": key_id(keys.signing[0]),
        "value": _seal(keys.signing[0], values),
    }
    return canonical(values)


def unsigned(data: bytes) -> bytes:
    """The canonical manifest without its signature: what was signed.

    Raises:
        Broken: it is no manifest.
    """
    values = parsed(data)
    values.pop(SIGNATURE, None)
    return canonical(values)


def signature_state(data: bytes, keys: Keys) -> SignatureState:
    """Whether one of the keys signed a manifest: `signed`, `unsigned` or `wrong`.

    Without a key nothing is known to be signed; what carries a signature is `unsigned` then,
    as far as this machine can tell.

    Raises:
        Broken: it is no manifest.
    """
    return _signature_state(data, parsed(data), keys)


def _signature_state(data: bytes, values: dict[str, Any], keys: Keys) -> SignatureState:
    values = dict(values)
    signature = values.pop(SIGNATURE, None)
    if signature is None or not keys.signing:
        return "unsigned"
    wanted = {"algorithm", "key_id", "value"}
    if not isinstance(signature, dict) or signature.keys() != wanted:
        return "wrong"
    value, algorithm = signature["value"], signature["algorithm"]
    if algorithm != _ALGORITHM or not isinstance(value, str) or not value.isascii():
        return "wrong"
    # Every key is tried; its id is for people, and has to be right too.
    holds = [
        hmac.compare_digest(_seal(key, values), value) and signature["key_id"] == key_id(key)
        for key in keys.signing
    ]
    # Only the very bytes that this desk writes: nothing may hide in spaces between them.
    exact = canonical(values | {SIGNATURE: signature}) == data
    return "signed" if any(holds) and exact else "wrong"


def require_signature(data: bytes, values: dict[str, Any], keys: Keys | None) -> None:
    """Refuse what none of the keys signed, where there is a key.

    Args:
        values: what `data` holds.

    Raises:
        Unsigned: unsigned or signed otherwise; says which, and the way out.
    """
    if keys is None or not keys.signing:
        return
    state = _signature_state(data, values, keys)
    if state == "unsigned":
        raise Unsigned(
            "This manifest is not signed, and BACKUP_SIGNING_KEY demands it. Nothing was changed.",
            "If the desk itself made this snapshot before there was a key, sign it: "
            "`python services/doctor.py sign --all`. If not, don't use it.",
        )
    if state == "wrong":
        signature = values[SIGNATURE]
        name = signature.get("key_id") if isinstance(signature, dict) else None
        whose = f"the key {name}" if isinstance(name, str) and _KEY_ID.fullmatch(name) else "a key"
        raise Unsigned(
            "The signature of this manifest does not hold: it was altered, or signed with "
            f"another key than this desk knows ({whose}). Nothing was changed.",
            "If the key was changed, add the old one to BACKUP_SIGNING_KEY, after a comma. If "
            "not, don't use this snapshot, and find out who can write to the store.",
        )


def _seal(key: bytes, values: dict[str, Any]) -> str:
    return hmac.new(key, canonical(values), hashlib.sha256).hexdigest()


def canonical(values: dict[str, Any]) -> bytes:
    """The one way in which this desk writes these values."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, indent=1, allow_nan=False)
    return f"{text}\n".encode()


def parsed(data: bytes) -> dict[str, Any]:
    """What a manifest holds, before any of it is believed.

    Raises:
        Broken: it is too large, or no JSON object that could be written again as it is.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise unusable("it is larger than any manifest")
    try:
        values = json.loads(data.decode(), object_pairs_hook=_no_doubles, parse_constant=_no_nan)
        if not isinstance(values, dict):
            raise unusable("it is not a JSON object")
        canonical(values)  # half a surrogate is no text, and what overflows is no number
    except (ValueError, RecursionError) as error:
        raise unusable("it is not valid JSON") from error
    return values


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key twice in one object")
    return values


def _no_nan(name: str) -> float:
    raise ValueError(name)


def unusable(why: str) -> Broken:
    """What is said of a manifest that no desk wrote."""
    return Broken(
        f"A manifest in the store can't be used: {why}.",
        "The other snapshots are not affected. Restore from one of them.",
    )
