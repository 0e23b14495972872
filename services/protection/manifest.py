"""The manifest as a file: canonical JSON that anybody can read, and a strict way back.

Whoever can write to the store can write a manifest, so what comes back is checked field by
field before any of it is believed: a name becomes a file name, a key becomes an object.
Where there is a signing key, nothing is believed that was not signed with one.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from services.core.errors import Broken
from services.protection.model import (
    MANIFEST_FORMAT,
    CollectionFacts,
    Component,
    Manifest,
    Neighbours,
    Part,
    TableFacts,
    VectorMatch,
)
from services.protection.sealing.keys import Keys
from services.protection.sealing.signing import MAX_MANIFEST_BYTES as MAX_MANIFEST_BYTES
from services.protection.sealing.signing import (
    SIGNATURE,
    canonical,
    parsed,
    require_signature,
    signed,
)
from services.protection.sealing.signing import signature_state as signature_state
from services.protection.sealing.signing import unusable as _broken

_ADDED: dict[int, dict[str, Any]] = {
    1: {"engines": {}, "neighbours": {}, "match": None},
    MANIFEST_FORMAT: {},
}
"""Of each format that is read: the fields that it did not have yet."""

_MOST = 2**63 - 1
"""What a database can hold as a number."""
_MOST_TEXT = 10_000
_SECOND = len("20261122T020000Z")
_MOST_QUESTIONS = 1000
ENCRYPTIONS = ("none", "age")

SNAPSHOT_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-z]{4}")
T = TypeVar("T")
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,249}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def new_snapshot_id(now: datetime) -> str:
    """An id that is not guessed twice and sorts by time, down to the second:
    `20261122T020000Z-7k3f`. What is newer within a second, the manifest's own time says."""
    tail = "".join(secrets.choice(_ALPHABET) for _ in range(4))
    return f"{_second(now)}-{tail}"


def _second(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def manifest_prefix(instance: str) -> str:
    """Where the manifests of one tenant lie."""
    return f"manifests/{instance}/"


def manifest_key(instance: str, snapshot_id: str) -> str:
    """Key of a snapshot's manifest."""
    return f"{manifest_prefix(instance)}{snapshot_id}.json"


def data_key(instance: str, snapshot_id: str, name: str) -> str:
    """Key of a component."""
    return f"data/{instance}/{snapshot_id}/{name}"


def image_key(instance: str, sha256: str) -> str:
    """Key of a picture: its content names it, so it is stored once."""
    return f"images/{instance}/{sha256}"


def to_json(manifest: Manifest, keys: Keys | None = None) -> bytes:
    """Canonical JSON: sorted keys, UTF-8, one newline at the end. The same manifest, the
    same bytes.

    Args:
        keys: the first of their signing keys, if there is one, signs it.
    """
    values = asdict(manifest)
    values["created_at"] = manifest.created_at.astimezone(UTC).isoformat(timespec="microseconds")
    return signed(canonical(values), keys) if keys else canonical(values)


def from_json(data: bytes, keys: Keys | None = None) -> Manifest:
    """Read a manifest that anybody may have written.

    Args:
        keys: with a signing key among them, one has to have signed it.

    Raises:
        Broken: it is not JSON, not of a format that this desk knows, or a field is missing,
            unknown, of the wrong type or points outside its snapshot; names the field. Or it
            is not signed with one of the keys.
    """
    values = parsed(data)
    require_signature(data, values, keys)
    values.pop(SIGNATURE, None)
    known = values.get("format") in _ADDED and not isinstance(values.get("format"), bool)
    if not known:
        raise Broken(
            f"This manifest is of format {str(values.get('format'))[:20]}; this desk knows "
            f"format {MANIFEST_FORMAT}.",
            "It was written by a newer version: update the desk to use this snapshot.",
        )
    values = _ADDED[values["format"]] | values
    expected = {field.name for field in fields(Manifest)}
    if values.keys() != expected:
        odd = sorted(expected.symmetric_difference(values))[0]
        raise _broken(f"the field {odd[:60]!r} is missing or unknown")
    return _manifest(values)


def _manifest(values: dict[str, Any]) -> Manifest:
    snapshot_id = _matching(values, "id", SNAPSHOT_ID)
    instance = _matching(values, "instance", _INSTANCE)
    manifest = Manifest(
        id=snapshot_id,
        instance=instance,
        created_at=_time(values, "created_at"),
        reason=_text(values, "reason"),
        asked_by=_text(values, "asked_by"),
        host=_text(values, "host"),
        components=tuple(
            _component(item, instance, snapshot_id) for item in _list(values, "components")
        ),
        tables=_mapping(values, "tables", _table),
        foreign_key_violations=_count(values, "foreign_key_violations"),
        collections=_mapping(values, "collections", _collection),
        image_count=_count(values, "image_count"),
        image_bytes=_count(values, "image_bytes"),
        revisions=_mapping(values, "revisions", _is_text),
        tools=_mapping(values, "tools", _is_text),
        step_seconds=_mapping(values, "step_seconds", _is_number),
        engines=_mapping(values, "engines", _is_text),
        neighbours=_mapping(values, "neighbours", _neighbours),
        match=_match(values["match"]),
        notes=tuple(_is_text(note) for note in _list(values, "notes")),
        format=values["format"],
        extra=_dict(values, "extra"),
    )
    if not snapshot_id.startswith(_second(manifest.created_at)):
        # Whoever could set it at will would decide which snapshot is the newest.
        raise _broken("its time is not that of its name")
    if max(manifest.plain_bytes, manifest.stored_bytes) > _MOST:
        raise _broken("its components are larger than anything")
    names = [component.name for component in manifest.components]
    if len(set(names)) != len(names):
        raise _broken("two components have the same name")
    return manifest


def _component(value: Any, instance: str, snapshot_id: str) -> Component:
    if isinstance(value, dict):
        value = {"origin": ""} | value  # format 1 knew none
    if not isinstance(value, dict) or value.keys() != {field.name for field in fields(Component)}:
        raise _broken("a component does not have the fields of one")
    name = _matching(value, "name", _NAME)
    origin = _matching(value, "origin", SNAPSHOT_ID) if value["origin"] else ""
    # Ids of the same second don't sort by time.
    later = origin[:_SECOND] > snapshot_id[:_SECOND] or origin == snapshot_id
    if later or value["key"] != data_key(instance, origin or snapshot_id, name):
        raise _broken(f"the component {name} points outside its snapshot")
    if value["part"] not in set(Part):
        raise _broken(f"the component {name} is of an unknown part")
    if value["compression"] not in ("zstd", "none") or value["encryption"] not in ENCRYPTIONS:
        raise _broken(f"the component {name} is packed in a way that this desk does not know")
    return Component(
        name=name,
        part=Part(value["part"]),
        key=value["key"],
        plain_bytes=_count(value, "plain_bytes"),
        plain_sha256=_matching(value, "plain_sha256", _SHA256),
        stored_bytes=_count(value, "stored_bytes"),
        stored_sha256=_matching(value, "stored_sha256", _SHA256),
        compression=value["compression"],
        encryption=value["encryption"],
        open_with=_text(value, "open_with"),
        origin=origin,
    )


def _table(value: Any) -> TableFacts:
    if not isinstance(value, dict) or value.keys() != {"rows", "digest"}:
        raise _broken("the facts of a table are not what they must be")
    return TableFacts(_count(value, "rows"), _matching(value, "digest", _SHA256))


def _collection(value: Any) -> CollectionFacts:
    if not isinstance(value, dict) or value.keys() != {"count", "dimension", "space"}:
        raise _broken("the facts of a collection are not what they must be")
    dimension = None if value["dimension"] is None else _count(value, "dimension")
    return CollectionFacts(_count(value, "count"), dimension, _text(value, "space"))


def _neighbours(value: Any) -> tuple[Neighbours, ...]:
    if not isinstance(value, list) or len(value) > _MOST_QUESTIONS:
        raise _broken("the neighbours of a collection are not what they must be")
    found = []
    for each in value:
        if not isinstance(each, dict) or each.keys() != {"id", "nearest", "distances"}:
            raise _broken("the neighbours of a vector are not what they must be")
        found.append(
            Neighbours(
                _text(each, "id"),
                tuple(_is_text(near) for near in _list(each, "nearest")),
                tuple(_is_number(far) for far in _list(each, "distances")),
            )
        )
    return tuple(found)


def _match(value: Any) -> VectorMatch | None:
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() != {item.name for item in fields(VectorMatch)}:
        raise _broken("what is said of vectors and products is not what it must be")
    return VectorMatch(
        products=_count(value, "products"),
        vectors=_count(value, "vectors"),
        without_vector=tuple(_is_text(found) for found in _list(value, "without_vector")),
        without_product=tuple(_is_text(found) for found in _list(value, "without_product")),
        missing=_count(value, "missing"),
        stray=_count(value, "stray"),
    )


def _mapping(values: dict[str, Any], name: str, check: Callable[[Any], T]) -> dict[str, T]:
    return {key: check(value) for key, value in _dict(values, name).items()}


def _dict(values: dict[str, Any], name: str) -> dict[str, Any]:
    value = values[name]
    if not isinstance(value, dict):
        raise _broken(f"the field {name!r} is not an object")
    return value


def _list(values: dict[str, Any], name: str) -> list[Any]:
    value = values[name]
    if not isinstance(value, list):
        raise _broken(f"the field {name!r} is not a list")
    return value


def _text(values: dict[str, Any], name: str) -> str:
    value = values[name]
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        raise _broken(f"the field {name!r} is not a text, or a very long one")
    return value


def _matching(values: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = _text(values, name)
    if not pattern.fullmatch(value):
        raise _broken(f"the field {name!r} does not have the form that it must have")
    return value


def _count(values: dict[str, Any], name: str) -> int:
    value = values[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise _broken(f"the field {name!r} is not a number of things")
    return value


def _time(values: dict[str, Any], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(values, name))
        if moment.tzinfo is None:
            raise _broken(f"the time {name!r} has no zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _broken(f"the field {name!r} is not a time") from error


def _is_text(value: Any) -> str:
    if not isinstance(value, str):
        raise _broken("something is not a text that must be one")
    return value


def _is_number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise _broken("a time or distance is not a number")
    return float(value)
