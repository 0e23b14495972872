"""Sign manifests that were made before there was a key, or with a key that goes."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from services.core import audit
from services.core.access import Actor
from services.core.context import Context
from services.core.errors import Broken, Misconfigured
from services.core.jobs import JobHandle
from services.protection.index import indexed
from services.protection.manifest import MAX_MANIFEST_BYTES, from_json, manifest_key
from services.protection.model import Manifest, SnapshotRow
from services.protection.sealing.keys import key_id, keys_of
from services.protection.sealing.signing import SIGNATURE, parsed, signature_state, signed
from services.protection.stores.base import Store


@dataclass(frozen=True)
class Countersigned:
    """What became of each snapshot."""

    signed: tuple[str, ...]
    already: tuple[str, ...]  # carried a signature of the first key
    refused: dict[str, str]  # id -> why; left as it is


def sign(
    ctx: Context, store: Store, handle: JobHandle, actor: Actor, rows: tuple[SnapshotRow, ...]
) -> Countersigned:
    """Sign each manifest that is what this desk indexed, or that a known key signed.

    The audit log has a row for each. Whatever else lies in the store under a manifest's name
    is left as it is and told.

    Raises:
        Misconfigured: there is no signing key.
        Transient, Misconfigured: the store can't be read or written; what was signed stays so.
    """
    keys = keys_of(ctx.settings)
    if not keys.signing:
        raise Misconfigured(
            "BACKUP_SIGNING_KEY is not set; nothing was signed.",
            "Set it to the output of `openssl rand -hex 32` (docs/keys.md).",
        )
    done: list[str] = []
    already: list[str] = []
    refused: dict[str, str] = {}
    for number, row in enumerate(rows):
        handle.progress(number / len(rows))
        try:
            fresh = _sign_one(ctx, store, row)
        except Broken as error:
            refused[row.id] = str(error)
            _note(ctx, actor, row.id, f"Did not sign {row.id}: {error.message}", "refused")
            continue
        (done if fresh else already).append(row.id)
        if fresh:
            name = key_id(keys.signing[0])
            _note(ctx, actor, row.id, f"Signed {row.id} with the key {name}", "done")
    return Countersigned(tuple(done), tuple(already), refused)


def _sign_one(ctx: Context, store: Store, row: SnapshotRow) -> bool:
    keys = keys_of(ctx.settings)
    key = manifest_key(row.instance, row.id)
    try:
        with store.open(key) as stream:
            data = stream.read(MAX_MANIFEST_BYTES + 1)
    except KeyError as error:
        raise Broken(f"The manifest of {row.id} is no longer in the store.") from error
    trusted = signature_state(data, keys) == "signed"
    if not trusted and hashlib.sha256(data).hexdigest() != indexed.digest(ctx, row.id):
        raise Broken(
            f"The manifest of {row.id} is not the one that this desk saw first; it was not signed.",
            "Don't use this snapshot. Find out who can write to the store.",
        )
    _require_usable(from_json(data), row)
    fresh = signed(data, keys)
    if not trusted or parsed(data)[SIGNATURE]["key_id"] != parsed(fresh)[SIGNATURE]["key_id"]:
        store.put(key, io.BytesIO(fresh))
        with store.open(key) as stream:
            if stream.read(len(fresh) + 1) != fresh:
                raise Broken("The store did not give back the manifest that was sent.")
        indexed.note_signature(ctx, row.id, fresh)
        return True
    indexed.note_signature(ctx, row.id, data)
    return False


def _require_usable(manifest: Manifest, row: SnapshotRow) -> None:
    if (manifest.instance, manifest.id) != (row.instance, row.id):
        raise Broken(f"The manifest of {row.id} is that of another snapshot; it was not signed.")


def _note(ctx: Context, actor: Actor, snapshot_id: str, summary: str, outcome: str) -> None:
    subject = ("snapshot", snapshot_id)
    audit.note(ctx, actor, "manifest.sign", subject, summary, outcome=outcome)
