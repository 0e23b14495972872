"""The backup door: what a snapshot holds, how it is listed, proven and handed out."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from db.engine import write
from db.migrate import CONTROL_HEAD, KNOWLEDGE_HEAD
from services import backup
from services.core import audit, jobs
from services.core.access import Permission
from services.core.context import open_context
from services.core.errors import Broken, Denied, Invalid, Misconfigured, Transient
from services.core.loading import load_settings
from services.protection import snapshots
from services.protection.manifest import from_json, manifest_key, to_json
from services.protection.model import DayMark, Part
from services.protection.sources import sqlite
from services.protection.stores import open_store
from tests.conftest import person


@pytest.fixture
def store_dir(ctx) -> Path:
    """Where the local store keeps its objects."""
    return Path(ctx.settings.store_url.removeprefix("file:"))


@pytest.fixture
def pictures(ctx) -> Path:
    """Three pictures, two of them the same."""
    folder = ctx.settings.images_dir
    (folder / "more").mkdir(parents=True)
    (folder / "blüte.png").write_bytes(b"flower")
    (folder / "more" / "again.png").write_bytes(b"flower")
    (folder / "coat.png").write_bytes(b"coat" * 1000)
    return folder


def _made(ctx, actor) -> snapshots.Manifest:
    job = backup.run(ctx, actor, "manual")
    assert job.state is jobs.JobState.SUCCEEDED and job.result
    return backup.manifest(ctx, actor, job.result["snapshot"])


def _objects(store_dir: Path) -> set[str]:
    return {
        path.relative_to(store_dir).as_posix() for path in store_dir.rglob("*") if path.is_file()
    }


def test_a_snapshot_opens_with_standard_tools_and_holds_what_was_there(
    ctx, shop, pictures, operator, store_dir, tmp_path
):
    made = _made(ctx, operator)
    assert made.parts == {Part.DATABASE, Part.CONTROL, Part.KNOWLEDGE, Part.IMAGES}
    assert made.asked_by == "Operator" and made.reason == "manual"
    assert made.tables["orders"].rows == 60 and made.foreign_key_violations == 1
    assert "kb_restores" not in made.tables
    assert made.revisions == {"knowledge": KNOWLEDGE_HEAD, "control": CONTROL_HEAD}
    assert (made.image_count, made.image_bytes) == (3, 4012)
    assert any("no Chroma folder" in note for note in made.notes)

    packed = (store_dir / snapshots.component_of(made, Part.DATABASE).key).read_bytes()
    plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed)).read()
    (tmp_path / "out.sqlite3").write_bytes(plain)
    with closing(sqlite3.connect(tmp_path / "out.sqlite3")) as database:
        assert database.execute("SELECT count(*) FROM orders").fetchone()[0] == 60
    assert sqlite.table_facts(tmp_path / "out.sqlite3") == made.tables
    names = json.loads((store_dir / snapshots.component_of(made, Part.IMAGES).key).read_bytes())
    for name, digest in names.items():
        assert (store_dir / f"images/default/{digest}").read_bytes() == (
            pictures / name
        ).read_bytes()


def test_the_knowledge_base_and_the_database_of_a_snapshot_agree(ctx, shop, operator, store_dir):
    """A change between the capture of the database and the export of the KB is in neither."""

    def meddling(engine):
        with closing(sqlite3.connect(shop)) as live, live:
            live.execute(
                "INSERT INTO kb_entries (section, key, kind, body, position, version, updated_at, "
                "updated_by) VALUES ('', 'late', 'text', '\"x\"', 1, 1, '2026-01-01', 'me')"
            )
        with engine.connect() as connection:
            count = connection.exec_driver_sql("SELECT count(*) FROM kb_entries").scalar()
        return json.dumps({"entries": count}).encode()

    job = jobs.create(ctx, operator, "backup")

    def work(handle):
        made = snapshots.create(
            ctx, open_store(ctx.settings), handle, operator, reason="x", knowledge=meddling
        )
        return {"snapshot": made.id}

    made = backup.manifest(ctx, operator, jobs.run(ctx, job, work).result["snapshot"])
    kept = (store_dir / snapshots.component_of(made, Part.KNOWLEDGE).key).read_bytes()
    assert json.loads(kept) == {"entries": made.tables["kb_entries"].rows} == {"entries": 0}


def test_a_picture_is_sent_once_for_all_snapshots(ctx, shop, pictures, operator, store_dir):
    _made(ctx, operator)
    before = {
        path.name: path.stat().st_mtime_ns for path in (store_dir / "images/default").iterdir()
    }
    assert len(before) == 2
    (pictures / "new.png").write_bytes(b"new")
    _made(ctx, operator)
    after = {
        path.name: path.stat().st_mtime_ns for path in (store_dir / "images/default").iterdir()
    }
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {hashlib.sha256(b"new").hexdigest()}


def test_a_picture_that_was_cut_short_in_the_store_is_sent_again(
    ctx, shop, pictures, operator, store_dir
):
    _made(ctx, operator)
    stored = store_dir / "images/default" / hashlib.sha256(b"flower").hexdigest()
    stored.write_bytes(b"flo")
    made = _made(ctx, operator)
    assert stored.read_bytes() == b"flower"
    assert backup.verify(ctx, operator, made.id).read_back_at


def test_every_step_is_in_the_jobs_log_with_its_figures(ctx, shop, operator):
    job = backup.run(ctx, operator)
    log = "\n".join(text for _at, text in job.log)
    for line in ("Copying the shop's database", "send database: ", "bytes, ", "read back: "):
        assert line in log
    assert job.result["components"]["database.sqlite3.zst"]["plain_bytes"] == shop.stat().st_size
    assert not list(ctx.settings.temp_dir.iterdir())


def test_who_asked_is_in_the_audit_log_whatever_came_of_it(ctx, shop, operator, admin):
    backup.run(ctx, operator, "manual")
    shop.unlink()
    with pytest.raises(Misconfigured):
        backup.run(ctx, operator, "manual")
    found = audit.events(ctx, admin, audit.AuditFilter(actor="Operator")).events
    assert [event.action for event in reversed(found)] == [
        "backup.start",
        "backup.done",
        "backup.start",
        "backup.failed",
    ]
    assert found[0].outcome == "failed" and "no database at" in found[0].summary


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        (lambda ctx, who: backup.snapshots(ctx, who), Permission.BACKUP_VIEW),
        (lambda ctx, who: backup.refresh(ctx, who), Permission.BACKUP_VIEW),
        (lambda ctx, who: backup.manifest(ctx, who, "latest"), Permission.BACKUP_VIEW),
        (lambda ctx, who: backup.days(ctx, who), Permission.OVERVIEW_VIEW),
        (lambda ctx, who: backup.start(ctx, who), Permission.BACKUP_CREATE),
        (lambda ctx, who: backup.run(ctx, who), Permission.BACKUP_CREATE),
        (lambda ctx, who: backup.verify(ctx, who, "latest"), Permission.BACKUP_CREATE),
        (
            lambda ctx, who: backup.open_component(ctx, who, "latest", "x").__enter__(),
            Permission.BACKUP_DOWNLOAD,
        ),
    ],
)
@pytest.mark.parametrize("role", ["manager", "editor", "nobody"])
def test_no_function_of_the_door_works_without_its_permission(ctx, nobody, role, call, allowed):
    actor = nobody if role == "nobody" else person(role)
    if actor.may(allowed):
        return
    with pytest.raises(Denied, match="Nothing was changed"):
        call(ctx, actor)
    assert backup.current(ctx) is None and not jobs.recent(ctx, ("backup",))


def test_an_empty_control_database_and_a_bucket_give_the_list_again(ctx, shop, operator, clock):
    ids = [_made(ctx, operator).id for _ in range(3)]
    with write(ctx.control) as connection:
        connection.exec_driver_sql("DELETE FROM snapshots")
        connection.exec_driver_sql("DELETE FROM desk_state")
    found = backup.snapshots(ctx, operator)
    assert sorted(row.id for row in found.rows) == sorted(ids)
    assert found.total == 3 and found.store_error is None and found.refreshed_at
    row = found.rows[0]
    assert row.headline == {"orders": 60, "products": 40, "users": 12}
    assert row.parts >= {Part.DATABASE, Part.CONTROL, Part.KNOWLEDGE}
    # Whether it is whole is not known before somebody has looked again.
    assert row.read_back_at is None
    assert backup.verify(ctx, operator, row.id).read_back_at


def test_the_list_follows_the_store_and_leaves_other_tenants_alone(ctx, shop, operator, store_dir):
    first, second = _made(ctx, operator), _made(ctx, operator)
    foreign = store_dir / "manifests/other/20260101T000000Z-aaaa.json"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("{}")
    (store_dir / manifest_key("default", first.id)).unlink()
    result = backup.refresh(ctx, operator)
    assert (result.added, result.removed, result.total) == ((), (first.id,), 1)
    assert [row.id for row in backup.snapshots(ctx, operator).rows] == [second.id]
    assert foreign.read_text() == "{}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format": 3}',
        b'{"format": 1, "id": "x", "id": "y"}',
    ],
)
def test_a_manifest_that_cant_be_read_is_reported_and_the_others_are_listed(
    ctx, shop, operator, store_dir, content
):
    good = _made(ctx, operator)
    (store_dir / "manifests/default/20260101T000000Z-aaaa.json").write_bytes(content)
    result = backup.refresh(ctx, operator)
    assert list(result.unreadable) == ["20260101T000000Z-aaaa"]
    assert [row.id for row in backup.snapshots(ctx, operator).rows] == [good.id]


def test_a_manifest_that_was_altered_after_it_was_listed_is_refused(ctx, shop, operator, store_dir):
    made = _made(ctx, operator)
    file = store_dir / manifest_key("default", made.id)
    file.write_bytes(file.read_bytes().replace(b'"Operator"', b'"Somebody"'))
    with pytest.raises(Broken, match="was altered since the desk first saw it"):
        backup.manifest(ctx, operator, made.id)
    with pytest.raises(Broken):
        backup.verify(ctx, operator, made.id)
    row = backup.snapshots(ctx, operator, state="damaged").rows[0]
    assert row.read_back_at is None and "altered" in row.verify_error


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("components", 0, "key"), "data/default/../../etc/passwd"),
        (("components", 0, "key"), "data/other/20260101T000000Z-aaaa/database.sqlite3.zst"),
        (("components", 0, "name"), "../x"),
        (("components", 0, "plain_bytes"), -1),
        (("components", 0, "plain_bytes"), True),
        (("components", 0, "stored_sha256"), "g" * 64),
        (("components", 0, "part"), "everything"),
        (("components", 0, "encryption"), "rot13"),
        (("id",), "../../x"),
        (("instance",), "a/b"),
        (("created_at",), "2026-01-01T00:00:00"),
        (("tables", "orders"), None),
        (("notes",), [1]),
        (("format",), True),
        (("surprise",), 1),
    ],
)
def test_no_manifest_leads_out_of_its_snapshot(ctx, shop, operator, path, value):
    values = json.loads(to_json(_made(ctx, operator)))
    place = values
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(Broken):
        from_json(json.dumps(values).encode())


def test_a_manifest_comes_back_as_it_was_written(ctx, shop, pictures, operator):
    made = _made(ctx, operator)
    assert from_json(to_json(made)) == made
    assert to_json(from_json(to_json(made))) == to_json(made)


@pytest.mark.parametrize("what", ["database.sqlite3.zst", "knowledge.json", "images.json"])
@pytest.mark.parametrize("damage", ["missing", "altered", "short", "longer"])
def test_verify_names_the_object_that_is_missing_or_altered(
    ctx, shop, pictures, operator, store_dir, what, damage
):
    made = _made(ctx, operator)
    file = store_dir / snapshots.component_of(made, what).key
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        file.write_bytes({"altered": flipped, "short": data[:-1], "longer": data + b"x"}[damage])
    with pytest.raises(Broken, match=what.replace(".", r"\.")):
        backup.verify(ctx, operator, made.id)
    row = backup.snapshots(ctx, operator).rows[0]
    assert row.read_back_at is None and what in row.verify_error
    file.write_bytes(data)
    assert backup.verify(ctx, operator, made.id).verify_error is None


def test_verify_reads_every_picture(ctx, shop, pictures, operator, store_dir):
    made = _made(ctx, operator)
    digest = hashlib.sha256(b"flower").hexdigest()
    (store_dir / "images/default" / digest).write_bytes(b"flOwer")
    with pytest.raises(Broken, match=digest):
        backup.verify(ctx, operator, made.id)


def test_fetch_gives_the_file_whole_or_not_at_all(ctx, shop, operator, store_dir, tmp_path):
    made = _made(ctx, operator)
    store = open_store(ctx.settings)
    target = tmp_path / "out" / "shop.sqlite3"
    target.parent.mkdir()
    assert snapshots.fetch(ctx, store, made, Part.DATABASE, target) == target
    assert sqlite.table_facts(target) == made.tables
    assert target.stat().st_mode & 0o777 == 0o600
    target.unlink()
    file = store_dir / snapshots.component_of(made, Part.DATABASE).key
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(Broken):
        snapshots.fetch(ctx, store, made, Part.DATABASE, target)
    assert not list(target.parent.iterdir())
    with pytest.raises(Invalid, match="holds no vectors"):
        snapshots.fetch(ctx, store, made, Part.VECTORS, target)


def test_a_download_is_the_stored_object_and_is_recorded(ctx, shop, operator, admin, store_dir):
    made = _made(ctx, operator)
    with backup.open_component(ctx, operator, "latest", "knowledge.json") as (component, stream):
        data = stream.read()
    assert hashlib.sha256(data).hexdigest() == component.stored_sha256
    found = audit.events(ctx, admin, audit.AuditFilter(actions=("backup.download",))).events
    assert found[0].subject_id == made.id and "knowledge.json" in found[0].summary
    with (
        pytest.raises(Invalid),
        backup.open_component(ctx, operator, "latest", "../../control.db"),
    ):
        pass


def test_the_list_is_searched_and_paged_in_the_database(ctx, shop, operator):
    ids = [_made(ctx, operator).id for _ in range(5)][::-1]
    page = backup.snapshots(ctx, operator, page=2, rows=2)
    assert ([row.id for row in page.rows], page.total) == (ids[2:4], 5)
    assert backup.snapshots(ctx, operator, search=ids[0][-4:]).rows[0].id == ids[0]
    assert backup.snapshots(ctx, operator, search="100%").total == 0
    assert backup.snapshots(ctx, operator, state="read back").total == 5
    assert backup.snapshots(ctx, operator, state="verified").total == 0
    assert backup.snapshots(ctx, operator, state="unchecked").total == 0
    with pytest.raises(Invalid):
        backup.snapshots(ctx, operator, state="'; DROP TABLE snapshots")


def test_the_days_say_what_each_has_to_show(ctx, shop, operator):
    made = _made(ctx, operator)
    days = backup.days(ctx, operator, 3)
    assert [day.mark for day in days] == [DayMark.BEFORE, DayMark.BEFORE, DayMark.MADE]
    assert days[-1].snapshots == (made.id,)
    with write(ctx.control) as connection:
        connection.exec_driver_sql("DELETE FROM snapshots")
        connection.exec_driver_sql("UPDATE jobs SET created_at = '2026-01-01 00:00:00'")
    yesterday, today = backup.days(ctx, operator, 2)
    assert yesterday.mark is DayMark.MISSING
    assert today.mark is DayMark.BEFORE, "today may still bring one"
    shop.unlink()
    with pytest.raises(Misconfigured):
        backup.run(ctx, operator)
    today = backup.days(ctx, operator, 2)[-1]
    assert today.mark is DayMark.FAILED and "no database at" in today.errors[0]


def test_two_tenants_in_one_store_see_their_own_snapshots_only(ctx, shop, operator, tmp_path):
    mine = _made(ctx, operator)
    other = open_context(
        load_settings(
            env_file=tmp_path / "none.env",
            desk_home=tmp_path / "other",
            shop_root=tmp_path / "shop",
            instance_id="eu",
            backup_store_url=ctx.settings.store_url,
        )
    )
    try:
        theirs = _made(other, operator)
        assert [row.id for row in backup.snapshots(other, operator).rows] == [theirs.id]
    finally:
        other.close()
    backup.refresh(ctx, operator)
    assert [row.id for row in backup.snapshots(ctx, operator).rows] == [mine.id]


def test_a_server_that_does_not_answer_is_said_without_its_password(ctx, shop, operator, tmp_path):
    settings = load_settings(
        env_file=tmp_path / "none.env",
        desk_home=tmp_path / "desk",
        database_url="postgresql://shop:hunter2@localhost:1/shop",
    )
    with pytest.raises(Transient, match="can't be reached") as refused:
        backup.run(replace(ctx, settings=settings), operator)
    assert "DATABASE_URL" in refused.value.hint and "hunter2" not in str(refused.value)
    assert not backup.snapshots(ctx, operator).total
