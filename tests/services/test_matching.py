"""Vectors and products: what does not match is counted, listed and explained."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from services import monitor, restore
from services.protection import matching
from services.protection.index import catalog
from services.protection.model import Part
from services.protection.sources import chroma_ids
from services.watch.posture import Tone
from tests.drills import PRODUCTS, furnished_fixtures
from tests.faults.scene import back_up
from tests.shops import build_shop

desk, settings, _made = furnished_fixtures(vectors=True)


def in_shop(ctx, *statements: str) -> None:
    with closing(sqlite3.connect(ctx.settings.shop_sqlite_path)) as database, database:
        for statement in statements:
            database.execute(statement)


def names(*numbers: int) -> list[str]:
    return [f"product_{number}" for number in numbers]


@pytest.fixture
def products(tmp_path: Path):
    """Four products, of which the fourth is not active."""
    path = build_shop(tmp_path / "a.db", products=4, orders=1)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE products SET is_active = 0 WHERE id = 4")
    return create_engine(f"sqlite:///{path}")


def test_everything_matches_when_each_active_product_has_its_vector(products):
    found = matching.match(products, names(1, 2, 3))
    assert (found.products, found.vectors, found.missing, found.stray) == (3, 3, 0, 0)
    assert matching.explain(found, matching.products_of(products)) == ()
    assert matching.headline(found).startswith("all 3 active products have their vector")


def test_what_is_missing_and_what_is_over_is_listed_in_order_and_explained(products):
    found = matching.match(products, [*names(2, 4, 10, 9), "lookbook"])
    assert found.without_vector == ("1", "3")
    assert found.without_product == ("product_4", "product_9", "product_10", "lookbook")
    missing, stray = matching.explain(found, matching.products_of(products))
    assert missing.startswith("2 active products have no vector (products 1, 3)")
    assert "1 of a product that is not active any more" in stray
    assert "3 of a product that was deleted" in stray
    said = matching.headline(found)
    assert said == "2 active products without a vector and 4 vectors without an active product"


def test_of_very_many_the_first_hundred_are_listed_and_all_are_counted(products):
    found = matching.match(products, names(*range(100, 350)))
    assert found.stray == 250 and len(found.without_product) == 100
    assert found.without_product[0] == "product_100"
    _missing, stray = matching.explain(found, matching.products_of(products))
    assert stray.startswith("250 vectors") and "and 245 more" in stray
    assert "of the first 100: 100 of a product that was deleted" in stray


def test_a_shop_from_before_there_were_inactive_products_is_compared_with_all(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'old.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE products (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO products VALUES (1), (2)")
    assert matching.match(engine, names(1)).without_vector == ("2",)


def test_ids_are_read_from_the_file_alone_with_what_waits_in_the_queue(ctx, tmp_path):
    database = ctx.settings.vector_dir / "chroma.sqlite3"
    before = database.read_bytes()
    assert chroma_ids.vector_ids(database, matching.COLLECTION) == tuple(
        sorted(names(*range(1, PRODUCTS + 1)))
    )
    assert database.read_bytes() == before
    with closing(sqlite3.connect(database)) as connection, connection:
        (topic,) = connection.execute("SELECT topic FROM embeddings_queue").fetchone()
        for number, (operation, name) in enumerate(
            [(0, "product_50"), (3, "product_1"), (1, "product_60"), (2, "product_51")]
        ):
            connection.execute(
                "INSERT INTO embeddings_queue (seq_id, operation, topic, id) VALUES (?, ?, ?, ?)",
                (9000 + number, operation, topic, name),
            )
        connection.execute(
            "INSERT INTO embeddings_queue (seq_id, operation, topic, id) "
            "VALUES (9999, 0, 'persistent://default/default/another', 'product_70')"
        )
    ids = chroma_ids.vector_ids(database, matching.COLLECTION)
    assert set(ids) == set(names(*range(2, PRODUCTS + 1), 50, 51))


def test_what_is_no_chroma_or_another_collection_gives_no_ids(ctx, tmp_path):
    assert chroma_ids.vector_ids(tmp_path / "none.sqlite3", matching.COLLECTION) is None
    assert chroma_ids.vector_ids(ctx.settings.vector_dir / "chroma.sqlite3", "other") is None
    (tmp_path / "torn.sqlite3").write_bytes(b"SQLite format 3\0" + b"x" * 500)
    assert chroma_ids.vector_ids(tmp_path / "torn.sqlite3", matching.COLLECTION) is None
    with closing(sqlite3.connect(tmp_path / "empty.sqlite3")) as database, database:
        database.execute("CREATE TABLE x (y)")
    assert chroma_ids.vector_ids(tmp_path / "empty.sqlite3", matching.COLLECTION) is None


@pytest.mark.shared
def test_the_real_shops_vectors_match_its_products(shared_shop, tmp_path):
    import tarfile

    with tarfile.open(shared_shop / "vector_db.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    ids = matching.vector_ids(tmp_path / "vector_db")
    found = matching.match(matching.copy_engine(shared_shop / "insightshop.db"), ids)
    assert (found.vectors, found.missing, found.stray) == (72, 0, 0)


def test_a_backup_writes_down_what_does_not_match_and_the_first_page_finds_it(ctx, admin):
    in_shop(
        ctx,
        "UPDATE products SET is_active = 0 WHERE id = 5",
        "DELETE FROM products WHERE id = 6",
        "INSERT INTO products SELECT 41, 'New', description, price, category, color, brand, 1, 1, "
        "created_at FROM products WHERE id = 7",
    )
    made = back_up(ctx, admin)
    assert made.match is not None
    assert made.match.without_vector == ("41",)
    assert made.match.without_product == ("product_5", "product_6")
    assert any("product 41" in note for note in made.notes)
    assert any("1 of a product that was deleted" in note for note in made.notes)
    row = catalog.find(ctx, made.id)
    assert (row.missing_vectors, row.stray_vectors) == (1, 2)
    (finding,) = [f for f in monitor.posture(ctx, admin)[1].findings if f.code == "vectors"]
    assert finding.tone is Tone.WARNING
    assert "1 active product without a vector and 2 vectors without an active" in finding.text


def test_a_restore_says_what_does_not_match_afterwards(ctx, desk, admin):
    in_shop(ctx, "DELETE FROM products WHERE id > 38")
    later = back_up(ctx, admin)
    whole = restore.preview(ctx, admin, desk.id, frozenset({Part.DATABASE, Part.VECTORS}))
    done = restore.run(ctx, admin, whole, whole.word)
    assert not any("vector" in note and "product" in note for note in done.result["notes"])
    plan = restore.preview(ctx, admin, later.id, frozenset({Part.DATABASE}))
    done = restore.run(ctx, admin, plan, plan.word)
    assert any(note.startswith("2 vectors have no active product") for note in done.result["notes"])


def test_a_shop_without_vectors_is_compared_with_nothing(ctx, admin):
    import shutil

    shutil.rmtree(ctx.settings.vector_dir)
    assert back_up(ctx, admin).match is None
    assert matching.live_notes(ctx) == ()
