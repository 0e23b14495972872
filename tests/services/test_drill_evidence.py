"""Evidence of drills in the store: another desk's proof counts, an altered one does not."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.control import drills as drills_table
from db.control import snapshots as snapshots_table
from db.engine import write
from services import backup, drill
from services.core.context import Context, open_context
from services.core.errors import Broken
from services.protection.index import catalog
from services.protection.proving import prove as proving
from services.protection.proving import records
from services.protection.stores import open_store
from tests.drills import (
    desk_settings,
    differs,
    evidence_files,
    furnished_fixtures,
    with_settings,
)

KEY = "a-signing-key-of-more-than-32-characters"


desk, settings, made = furnished_fixtures(vectors=False)


@pytest.fixture
def elsewhere(ctx, made, tmp_path) -> Iterator[Context]:
    """Another desk that sees the same store, as the one where the identity lies would."""
    settings = desk_settings(tmp_path / "other", backup_store_url=ctx.settings.store_url)
    context = open_context(settings)
    catalog.refresh(context, open_store(context.settings))
    yield context
    context.close()


def test_a_drill_on_another_desk_counts_here(ctx, made, elsewhere, operator):
    drill.run(elsewhere, operator, made.id)
    assert catalog.find(ctx, made.id).verified_at is None
    backup.refresh(ctx, operator)
    row, (kept,) = catalog.find(ctx, made.id), drill.history(ctx, operator)
    assert row.verified_at == kept.at and row.drill_seconds == kept.seconds
    assert kept == drill.history(elsewhere, operator)[0]
    assert records.gather(ctx, open_store(ctx.settings)) == 0, "nothing is taken over twice"


def test_of_several_drills_the_newest_speaks_in_whatever_order_they_arrive(
    ctx, made, elsewhere, operator, monkeypatch
):
    drill.run(elsewhere, operator, made.id)
    with monkeypatch.context() as patched:
        patched.setattr(proving.aside, "compare", differs)
        with pytest.raises(Broken):
            drill.run(elsewhere, operator, made.id)
    backup.refresh(ctx, operator)
    row = catalog.find(ctx, made.id)
    assert row.verified_at is None and "tables differ" in row.verify_error
    drill.run(elsewhere, operator, made.id)
    backup.refresh(ctx, operator)
    row = catalog.find(ctx, made.id)
    assert row.verified_at is not None and row.verify_error is None


def test_a_drill_elsewhere_does_not_heal_what_was_read_here_and_found_damaged(
    ctx, made, elsewhere, operator
):
    drill.run(elsewhere, operator, made.id)
    catalog.record_verification(ctx, made.id, "The picture is altered.")
    backup.refresh(ctx, operator)
    row = catalog.find(ctx, made.id)
    assert row.verify_error == "The picture is altered." and row.verified_at is None


@pytest.mark.parametrize(
    "what", ["seconds", "steps", "signature", "no signature", "manifest", "place"]
)
def test_evidence_that_was_altered_is_refused(ctx, made, tmp_path, operator, what, caplog):
    signing = {} if what == "manifest" else {"backup_signing_key": KEY}
    other = open_context(desk_settings(tmp_path / "other", backup_store_url=ctx.settings.store_url))
    try:
        catalog.refresh(other, open_store(other.settings))
        drill.run(other, operator, made.id)
    finally:
        other.close()
    (file,) = evidence_files(ctx)
    here = ctx if what == "manifest" else with_settings(ctx, tmp_path, **signing)
    values = json.loads(file.read_bytes())
    if signing:
        # As a desk with the key would have signed it, and then changed by somebody without.
        from services.protection.sealing.keys import keys_of
        from services.protection.sealing.signing import canonical
        from services.protection.sealing.signing import signed as sign

        values = json.loads(sign(canonical(values), keys_of(here.settings)))
    changes = {
        "seconds": {"seconds": 0.1},
        "steps": {"steps": values["steps"][:1]},
        "signature": {"signature": (values.get("signature") or {}) | {"value": "0" * 64}},
        "manifest": {"manifest_sha256": "0" * 64},
        "place": {"place": "copy"},
    }
    if what == "no signature":
        del values["signature"]
    else:
        values |= changes[what]
    file.chmod(0o600)
    file.write_text(json.dumps(values))
    with caplog.at_level(logging.WARNING):
        assert records.gather(here, open_store(here.settings)) == 0
    assert "can't be used" in caplog.text
    assert catalog.find(ctx, made.id).verified_at is None


def test_signed_evidence_counts_where_the_key_is_known(ctx, made, tmp_path, operator):
    here = with_settings(ctx, tmp_path, backup_signing_key=KEY)
    job = drill.run(ctx, operator, made.id)
    kept = records.get(ctx, job.id)
    records.send(here, open_store(here.settings), kept)
    with write(ctx.control) as connection:
        connection.execute(drills_table.delete())
    assert records.gather(here, open_store(here.settings)) == 1
    assert records.get(ctx, job.id) == kept


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b'{"kind": "drill"}',
        b'{"kind": "drill", "format": 1, "at": "yesterday"}',
        b"{" * 5000,
        b"x" * ((1 << 20) + 1),
    ],
)
def test_what_is_no_evidence_at_all_stops_no_listing(ctx, made, operator, data):
    path = Path(ctx.settings.store_url.removeprefix("file:")) / f"drills/default/{made.id}/ab.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    assert backup.refresh(ctx, operator).total == 1
    assert drill.history(ctx, operator) == ()


def test_evidence_of_a_backup_that_is_gone_is_left_alone(ctx, made, operator):
    drill.run(ctx, operator, made.id)
    with write(ctx.control) as connection:
        connection.execute(drills_table.delete())
        connection.execute(snapshots_table.delete())
    assert records.gather(ctx, open_store(ctx.settings)) == 0
