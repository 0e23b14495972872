"""The sample shop's contents: complete, believable, sound, the same for the same seed."""

from __future__ import annotations

import ast
import json
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from services.shop.sample import catalogue, database, fashion_kb, pictures, trade, vectors
from services.shop.sample.fashion_kb import FASHION_KNOWLEDGE_BASE

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def contents() -> database.Contents:
    return database.invent(7, NOW)


@pytest.fixture(scope="module")
def written(contents, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "shop.db"
    database.write_database(path, contents)
    return path


def rows(path: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def structure(path: Path) -> dict[str, tuple]:
    """Columns, indexes and references of every table, names of unnamed indexes left out."""
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as db:
        found = {}
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
            columns = [(*r[1:4], r[5]) for r in db.execute(f"PRAGMA table_info({table})")]
            indexes = []
            for _, name, unique, *_ in db.execute(f"PRAGMA index_list({table})").fetchall():
                parts = tuple(r[2] for r in db.execute(f'PRAGMA index_info("{name}")'))
                indexes.append(("" if name.startswith("sqlite_") else name, unique, parts))
            refers = [tuple(r[2:7]) for r in db.execute(f"PRAGMA foreign_key_list({table})")]
            found[table] = (columns, sorted(indexes), sorted(refers))
        return found


@pytest.mark.shared
def test_the_sample_has_exactly_the_tables_columns_and_indexes_of_the_real_shop(
    written, shared_shop
):
    assert structure(written) == structure(shared_shop / "insightshop.db")


def test_every_table_is_filled_and_the_promised_numbers_are_there(written):
    tables = [
        name for (name,) in rows(written, "SELECT name FROM sqlite_master WHERE type='table'")
    ]
    counts = {name: rows(written, f"SELECT count(*) FROM {name}")[0][0] for name in tables}
    assert len(counts) == 16 and all(counts.values())
    assert (counts["products"], counts["users"], counts["orders"]) == (200, 60, 300)
    assert len(rows(written, "SELECT DISTINCT clothing_category FROM products")) >= 8
    assert len(rows(written, "SELECT DISTINCT category FROM products")) == 3


def test_the_database_is_sound_and_every_order_adds_up(written):
    database.check_database(written)
    wrong = rows(
        written,
        "SELECT o.id FROM orders o LEFT JOIN order_items i ON i.order_id = o.id GROUP BY o.id "
        "HAVING abs(coalesce(sum(i.quantity * i.price), -1) - o.subtotal) > 0.001 "
        "OR abs(o.subtotal + o.tax + o.shipping_cost - o.total) > 0.001",
    )
    assert wrong == []
    assert rows(written, "PRAGMA journal_mode") == [("delete",)]


def test_one_person_is_administrator_and_nobody_can_sign_in_or_be_written_to(written):
    assert rows(written, "SELECT count(*), sum(is_admin), sum(is_superadmin) FROM users") == [
        (60, 1, 1)
    ]
    assert rows(written, "SELECT count(*) FROM users WHERE password_hash IS NOT NULL") == [(0,)]
    strangers = "SELECT email FROM users WHERE email NOT LIKE '%@example.org'"
    assert rows(written, strangers) == []


def test_orders_lie_within_ninety_days_and_their_status_fits_their_age(contents):
    moment = NOW.replace(tzinfo=None)
    orders = contents.tables["orders"]
    ages = [moment - order["created_at"] for order in orders]
    assert min(ages) > timedelta(0) and max(ages) <= timedelta(days=trade.DAYS + 1)
    old = {o["status"] for o, age in zip(orders, ages, strict=True) if age > timedelta(days=9)}
    assert old == {"delivered", "cancelled"}
    assert {order["status"] for order in orders} >= {"pending", "processing", "shipped"}
    weekdays = Counter(order["created_at"].weekday() for order in orders)
    assert weekdays[5] + weekdays[6] > weekdays[1] + weekdays[2]
    assert all(order["updated_at"] <= moment for order in orders)


def test_money_mixes_integer_and_real_as_in_the_real_shop(written):
    kinds = {kind for (kind,) in rows(written, "SELECT DISTINCT typeof(price) FROM products")}
    assert kinds == {"integer", "real"}


def test_json_texts_of_products_agree_with_their_stock_and_variations(contents):
    variants = Counter()
    for variant in contents.tables["product_variations"]:
        variants[variant["product_id"]] += variant["stock_quantity"]
    for product in contents.products:
        sizes = json.loads(product["available_sizes"])
        stock = json.loads(product["size_stock"])
        assert list(stock) == sizes and product["color"] in json.loads(product["available_colors"])
        assert product["stock_quantity"] == sum(stock.values()) == variants[product["id"]]


def test_the_same_seed_and_moment_give_the_same_shop_and_another_seed_another(contents):
    assert database.invent(7, NOW) == contents
    assert database.invent(8, NOW) != contents


def test_there_is_one_vector_per_product_with_what_the_shop_stores(contents, tmp_path):
    import chromadb

    vectors.write_vectors(tmp_path / "v", contents.products)
    (tmp_path / "v").rename(tmp_path / "moved")
    client = chromadb.PersistentClient(str(tmp_path / "moved"))
    collection = client.get_collection(vectors.COLLECTION, embedding_function=None)
    found = collection.get(include=["embeddings", "documents", "metadatas"])
    assert sorted(found["ids"]) == sorted(f"product_{n}" for n in range(1, 201))
    assert collection.metadata == {"hnsw:space": "cosine"}
    assert {len(vector) for vector in found["embeddings"]} == {384}
    by_id = {product["id"]: product for product in contents.products}
    for facts, text in zip(found["metadatas"], found["documents"], strict=True):
        product = by_id[facts["product_id"]]
        assert set(facts) == {
            "product_id", "name", "category", "color", "price", "brand", "on_sale",
        }  # fmt: skip
        assert facts["name"] == product["name"] and product["name"] in text
        assert isinstance(facts["price"], str) and facts["on_sale"] in ("true", "false")
    asked = collection.query(query_embeddings=[vectors.embed("wool sweater")], n_results=5)
    assert all("Wool" in text for text in asked["documents"][0])
    client.close()


def test_forty_pictures_decode_and_every_image_address_of_a_product_has_its_file(
    contents, tmp_path
):
    pictures.write_pictures(tmp_path / "g", catalogue.pictured(contents.products))
    names = {path.name for path in (tmp_path / "g").iterdir()}
    assert len(names) == 40
    for path in (tmp_path / "g").iterdir():
        with Image.open(path) as image:
            image.load()
            assert image.size == (pictures.WIDTH, pictures.HEIGHT)
            assert len(image.getcolors() or []) >= 4
    addressed = {product["image_url"].rsplit("/", 1)[-1] for product in contents.products}
    assert addressed == names


SHAPES = {
    "color_matching": {"basics": "text", "by_color": 20},
    "style_advice": 6,
    "occasions": 12,
    "dress_codes": 6,
    "fabric_guide": (14, ("description", "care", "best_for", "characteristics")),
    "fabric_pairing": "text",
    "dress_styles": {
        "necklines": (8, ("description", "best_for", "occasions")),
        "dress_features": (10, ("description", "best_for", "occasions")),
        "men_styles": (4, ("description", "best_for", "occasions")),
    },
    "styling_tips": 3,
    "outfit_formulas": {
        "description": "text",
        "by_primary_category": 9,
        "color_logic": "text",
        "formality_logic": "text",
        "season_logic": "text",
    },
    "pattern_rules": {"basics": "text", "avoid": "text"},
    "recommendation_priority": "text",
}


def check(value, shape, where=""):
    if shape == "text":
        assert isinstance(value, str) and value.strip(), where
    elif isinstance(shape, int):
        assert len(value) == shape, where
        for key, text in value.items():
            check(text, "text", f"{where}/{key}")
    elif isinstance(shape, tuple):
        assert len(value) == shape[0], where
        for key, record in value.items():
            assert tuple(record) == shape[1], f"{where}/{key}"
            for name, text in record.items():
                check(text, "text", f"{where}/{key}/{name}")
    else:
        assert list(value) == list(shape), where
        for key, inner in shape.items():
            check(value[key], inner, f"{where}/{key}")


def texts(value) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for inner in value.values() for text in texts(inner)]


def test_the_knowledge_base_has_every_section_and_shape_in_the_shops_order():
    check(FASHION_KNOWLEDGE_BASE, SHAPES)
    assert len(texts(FASHION_KNOWLEDGE_BASE)) == 187
    assert {"v-neck", "off-shoulder", "high-neck"} <= set(
        FASHION_KNOWLEDGE_BASE["dress_styles"]["necklines"]
    )


@pytest.mark.shared
def test_the_knowledge_base_has_the_shops_keys_and_none_of_its_texts(shared_shop):
    def keys(value):
        return [(k, keys(v)) for k, v in value.items()] if isinstance(value, dict) else None

    theirs = json.loads((shared_shop / "kb.json").read_text("utf-8"))
    assert keys(FASHION_KNOWLEDGE_BASE) == keys(theirs)
    assert not set(texts(FASHION_KNOWLEDGE_BASE)) & set(texts(theirs))


def test_the_module_is_literal_data_that_can_be_read_without_running_it():
    tree = ast.parse(Path(fashion_kb.__file__).read_text("utf-8"))
    value = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "FASHION_KNOWLEDGE_BASE"
    )
    assert ast.literal_eval(value) == FASHION_KNOWLEDGE_BASE


def test_the_module_looks_things_up_as_the_shop_does():
    kb = FASHION_KNOWLEDGE_BASE
    assert fashion_kb.get_color_advice("NAVY") == kb["color_matching"]["by_color"]["navy"]
    assert fashion_kb.get_color_advice("dark navy") == fashion_kb.GENERAL_COLOR
    assert fashion_kb.get_fabric_info("Cotton Knit") == kb["fabric_guide"]["cotton"]
    assert fashion_kb.get_fabric_info("wool blend") == kb["fabric_guide"]["wool"]
    assert fashion_kb.get_fabric_info("neoprene") is None
    assert fashion_kb.get_occasion_advice("Date Night") == kb["occasions"]["date_night"]
    assert fashion_kb.get_occasion_advice("moon landing") == fashion_kb.GENERAL_OCCASION
    assert fashion_kb.get_dress_code("Black tie") == kb["dress_codes"]["black_tie"]
    assert fashion_kb.get_dress_code("pyjamas") is None
    formulas = kb["outfit_formulas"]["by_primary_category"]
    assert fashion_kb.get_outfit_formula("Slim Chinos") == formulas["pants_trousers_chinos_jeans"]
    assert fashion_kb.get_outfit_formula("umbrella") is None
    text = fashion_kb.get_fashion_knowledge_base_text()
    assert kb["style_advice"]["fit"].strip() in text
    assert kb["fabric_guide"]["silk"]["care"] not in text
