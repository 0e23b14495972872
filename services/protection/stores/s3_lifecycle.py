"""Lifecycle rules of a bucket: ours by our ids, those of others as they are.

A PUT replaces every rule of the bucket, so the rules of others are carried as the very text
that the server sent: what this program (or botocore) does not know of is not lost. Servers
take nearly any rule and then do nothing, or something else; so rules are judged here first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

from services.core.errors import Broken
from services.protection.stores.base import ARCHIVE_CLASSES

Rule = dict[str, Any]
"""A rule in boto3's words."""

FOLDERS = ("manifests", "data", "images", "drills", "pins")
"""Folders of one tenant that are tidied; only `data` is ever archived."""
ABORT_DAYS = 2
"""Unfinished uploads go after so many days; the longest backup takes hours."""
OLD_VERSION_DAYS = 30
"""How long what was deleted or overwritten can still be brought back by hand."""
MOST_RULES = 1000
_MOST_ID = 255
_WATERFALL = (
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
)
"""Objects move down this list and never up."""
_FROM_DAY_30 = ("STANDARD_IA", "ONEZONE_IA")
_ACTIONS = (
    "Transitions",
    "Expiration",
    "NoncurrentVersionTransitions",
    "NoncurrentVersionExpiration",
    "AbortIncompleteMultipartUpload",
)
_RULE = re.compile(rb"<Rule>.*?</Rule>", re.DOTALL)  # text is escaped, so this can't be in a value
_XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"
_SINGULAR = {"Transitions": "Transition"}


@dataclass(frozen=True)
class Lifecycle:
    """The rules of a bucket as it has them."""

    rules: tuple[Rule, ...] = ()
    texts: tuple[bytes, ...] = ()  # of each rule, as the server sent it
    minimum_size: str = ""  # the bucket's own word about small objects, to be kept


def read_rules(raw: bytes, parsed: Sequence[Rule], minimum_size: str = "") -> Lifecycle:
    """Put what the server sent beside what boto3 understood of it.

    Raises:
        Broken: they don't belong to each other, so the rules of others could not be kept.
    """
    texts = tuple(_RULE.findall(raw))
    if len(texts) != len(parsed):
        raise Broken(
            "The lifecycle rules of the bucket are written in a way that the desk can't keep "
            "word for word. Nothing was changed.",
            "Change the lifecycle by hand; docs/storage.md says which rules the desk would add.",
        )
    return Lifecycle(tuple(parsed), texts, minimum_size)


def our_ids(prefix: str, instance: str) -> dict[str, str]:
    """What each of our rules is for -> its id, for one tenant below one prefix of a bucket."""
    who = instance
    if prefix:
        # Two desks with prefixes of their own may share a bucket and the instance's name.
        who += f".{hashlib.sha256(prefix.encode()).hexdigest()[:8]}"
    kinds = ("archive", *(f"tidy-{folder}" for folder in FOLDERS))
    return {kind: f"insightshop-{kind}-{who}" for kind in kinds}


def wanted_rules(
    prefix: str, instance: str, *, archive_days: int, storage: str, old_version_days: int
) -> tuple[Rule, ...]:
    """The rules that the settings ask for.

    Args:
        archive_days: 0: nothing is archived.
        old_version_days: after which versions that were deleted or overwritten go for good.
    """
    ids = our_ids(prefix, instance)
    rules: list[Rule] = []
    if archive_days:
        rules.append(
            {
                "ID": ids["archive"],
                "Filter": {"Prefix": f"{prefix}data/{instance}/"},
                "Status": "Enabled",
                "Transitions": [{"Days": archive_days, "StorageClass": storage}],
            }
        )
    for folder in FOLDERS:
        rules.append(
            {
                "ID": ids[f"tidy-{folder}"],
                "Filter": {"Prefix": f"{prefix}{folder}/{instance}/"},
                "Status": "Enabled",
                "Expiration": {"ExpiredObjectDeleteMarker": True},
                "NoncurrentVersionExpiration": {"NoncurrentDays": old_version_days},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_DAYS},
            }
        )
    return tuple(rules)


def ours(found: Lifecycle, ids: Sequence[str]) -> tuple[Rule, ...]:
    """The rules of the bucket that carry one of our ids."""
    return tuple(rule for rule in found.rules if rule.get("ID") in ids)


def others(found: Lifecycle, ids: Sequence[str]) -> tuple[tuple[Rule, bytes], ...]:
    """The rules of others, each with its text."""
    pairs = zip(found.rules, found.texts, strict=True)
    return tuple((rule, text) for rule, text in pairs if rule.get("ID") not in ids)


def document(found: Lifecycle, wanted: Sequence[Rule], ids: Sequence[str]) -> bytes:
    """The whole configuration to send: the rules of others as they are, then ours."""
    kept = b"".join(text for _, text in others(found, ids))
    added = "".join(f"<Rule>{''.join(_xml(rule))}</Rule>" for rule in wanted)
    return (
        f'<LifecycleConfiguration xmlns="{_XMLNS}">'.encode()
        + kept
        + added.encode()
        + b"</LifecycleConfiguration>"
    )


def problems(rules: Sequence[Rule]) -> list[str]:
    """What is wrong with a set of rules, each in a sentence; servers don't all say so."""
    found = []
    if len(rules) > MOST_RULES:
        found.append(f"There would be {len(rules)} rules; a bucket takes {MOST_RULES}.")
    ids = [str(rule.get("ID", "")) for rule in rules]
    for name in sorted({each for each in ids if each and ids.count(each) > 1}):
        found.append(f"Two rules have the id {name}.")
    for rule in rules:
        found += [f"The rule {rule.get('ID') or 'without an id'} {why}." for why in _faults(rule)]
    return found


def prefix_of(rule: Rule) -> str:
    """The keys that a rule speaks of begin with this; "" is the whole bucket."""
    where = rule.get("Filter")
    if not isinstance(where, dict):
        return str(rule.get("Prefix") or "")
    return str(where.get("Prefix") or (where.get("And") or {}).get("Prefix") or "")


def touches(rule: Rule, folder: str) -> bool:
    """Whether an enabled rule may speak of an object below `folder`."""
    named = prefix_of(rule)
    return rule.get("Status") == "Enabled" and (
        folder.startswith(named) or named.startswith(folder)
    )


def deletes(rule: Rule) -> bool:
    """Whether a rule removes current objects (not merely old versions)."""
    gone = rule.get("Expiration") or {}
    return "Days" in gone or "Date" in gone


def archives(rule: Rule) -> bool:
    """Whether a rule moves current objects to where they can't be read at once."""
    moves = rule.get("Transitions") or ()
    return any(move.get("StorageClass") in ARCHIVE_CLASSES for move in moves)


def _faults(rule: Rule) -> Iterator[str]:
    if len(str(rule.get("ID", ""))) > _MOST_ID:
        yield f"has an id of more than {_MOST_ID} characters"
    if rule.get("Status") not in ("Enabled", "Disabled"):
        yield "is neither enabled nor disabled"
    if not isinstance(rule.get("Filter"), dict) and not isinstance(rule.get("Prefix"), str):
        yield "has no filter, so it does not say what it is about"
    if not any(rule.get(action) for action in _ACTIONS):
        yield "does nothing"
    moves = [move for move in rule.get("Transitions") or () if "Days" in move]
    order = [(move["Days"], _step(move.get("StorageClass"))) for move in moves]
    if any(step < 0 for _, step in order):
        yield "moves objects to a storage class that does not exist"
        return
    if any(later[1] <= earlier[1] for earlier, later in pairwise(sorted(order))):
        yield "moves objects back to a class that they came from"
    for move in moves:
        least = 30 if move.get("StorageClass") in _FROM_DAY_30 else 0
        if move["Days"] < least:
            yield f"moves objects to {move['StorageClass']} before day {least}"
    gone = (rule.get("Expiration") or {}).get("Days")
    if gone is not None and any(move["Days"] >= gone for move in moves):
        yield "removes objects before it moves them"
    if gone is not None and gone < 1:
        yield "removes objects before they are a day old"
    versions = (rule.get("NoncurrentVersionExpiration") or {}).get("NoncurrentDays", 1)
    uploads = (rule.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation", 1)
    if min(versions, uploads) < 1:
        yield "removes old versions or uploads before they are a day old"


def _step(storage: Any) -> int:
    return _WATERFALL.index(storage) if storage in _WATERFALL else -1


def _xml(value: dict[str, Any]) -> Iterator[str]:
    for name, inner in value.items():
        tag = _SINGULAR.get(name, name)
        for each in inner if isinstance(inner, list) else [inner]:
            if isinstance(each, dict):
                text = "".join(_xml(each))
            elif isinstance(each, bool):
                text = str(each).lower()
            else:
                text = escape(str(each))
            yield f"<{tag}>{text}</{tag}>"
