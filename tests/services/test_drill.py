"""A drill proves a good backup, and what was done to its vectors is found by them."""

from __future__ import annotations

import shutil
from dataclasses import replace

from db.migrate import CONTROL_HEAD
from services.protection.model import Neighbours, Part
from services.protection.proving import prove as proving
from services.protection.proving import vectors
from tests.drills import (
    failed,
    flip,
    forge,
    furnished_fixtures,
    outcomes,
    product,
    proven,
    put_manifest,
    said,
    stored,
)
from tests.faults.scene import back_up, furnish, tree

COLLECTION = "insightshop_products"


desk, settings, made = furnished_fixtures(vectors=True)


def test_a_good_backup_passes_every_step_and_says_what_was_found(ctx, made, admin):
    evidence = proven(ctx, admin, made)
    assert evidence.passed and not evidence.error
    assert list(outcomes(evidence)) == [
        "Manifest", "Objects", "Database", "Desk's records", "Knowledge base", "Vectors",
        "Pictures", "Vectors and products",
    ]  # fmt: skip
    assert "every length and sha256 as recorded" in said(evidence, "Objects")
    assert "1 row refers to nothing, exactly as recorded" in said(evidence, "Database")
    assert CONTROL_HEAD in said(evidence, "Desk's records")
    assert "zero differences" in said(evidence, "Knowledge base")
    assert "20 sampled searches gave the recorded neighbours" in said(evidence, "Vectors")
    assert "every one decodes" in said(evidence, "Pictures")
    assert "All 40 active products have their vector" in said(evidence, "Vectors and products")
    assert evidence.match == made.match and evidence.match.products == 40
    assert evidence.seconds >= sum(step.seconds for step in evidence.steps) * 0.99


def test_a_drill_leaves_nothing_behind_and_touches_nothing_live(ctx, made, admin):
    watched = [ctx.settings.shop_dir, ctx.settings.instance_dir / "backups"]
    before = [tree(folder) for folder in watched]
    proven(ctx, admin, made)
    assert [tree(folder) for folder in watched] == before
    assert list(ctx.settings.temp_dir.iterdir()) == []


def test_one_flipped_bit_in_the_vectors_is_found_when_the_objects_are_fetched(ctx, made, admin):
    of_vectors = [found for found in made.components if found.part is Part.VECTORS]
    assert len(of_vectors) == 2
    for component in of_vectors:
        path = stored(ctx, component.key)
        good = path.read_bytes()
        flip(path)
        evidence = proven(ctx, admin, made)
        assert "Objects" in failed(evidence) and component.name in said(evidence, "Objects")
        path.write_bytes(good)
    assert proven(ctx, admin, made).passed


def test_other_neighbours_than_the_recorded_ones_are_found(ctx, made, admin):
    recorded = made.neighbours[COLLECTION]
    first = recorded[0]
    wrong = Neighbours(first.id, (*first.nearest[:4], "product_40"), first.distances)
    put_manifest(ctx, forged := replace(made, neighbours={COLLECTION: (wrong, *recorded[1:])}))
    evidence = proven(ctx, admin, forged)
    assert failed(evidence) == ["Vectors"] and "other neighbours" in said(evidence, "Vectors")


def test_a_count_of_vectors_that_is_not_the_recorded_one_is_found(ctx, made, admin):
    facts = replace(made.collections[COLLECTION], count=41)
    put_manifest(ctx, forged := replace(made, collections={COLLECTION: facts}))
    evidence = proven(ctx, admin, forged)
    assert failed(evidence) == ["Vectors"] and "41 were recorded" in said(evidence, "Vectors")


def test_vectors_that_were_exchanged_for_others_are_found_by_their_neighbours(
    ctx, made, admin, tmp_path
):
    """The same ids, other embeddings: no count tells, and every digest was recomputed."""
    from services.protection.sources import chroma
    from services.protection.tar import TarReader
    from services.shop.sample.vectors import write_vectors

    rows = [
        product(number) | {"description": f"other {number * 7 % 11}"} for number in range(1, 41)
    ]
    write_vectors(tmp_path / "others", rows)
    copy = chroma.capture(tmp_path / "others", tmp_path / "copy")
    assert copy is not None
    other = TarReader(copy.members).read()
    evidence = proven(ctx, admin, forge(ctx, made, "vectors.tar.zst", lambda _data: other))
    assert failed(evidence) == ["Vectors"] and "other neighbours" in said(evidence, "Vectors")


def test_an_archive_of_vectors_that_leads_out_of_its_folder_is_not_unpacked(
    ctx, made, admin, tmp_path
):
    from services.protection.tar import TarReader

    (tmp_path / "x").write_text("out")
    evil = TarReader([("../../out.txt", tmp_path / "x")]).read()
    evidence = proven(ctx, admin, forge(ctx, made, "vectors.tar.zst", lambda _data: evil))
    assert "Vectors" in failed(evidence) and "no vector folder holds" in said(evidence, "Vectors")
    assert not list(ctx.settings.temp_dir.rglob("out.txt"))


def test_a_portable_table_of_other_vectors_is_found(ctx, made, admin):
    def cut(data: bytes) -> bytes:
        import io

        import pyarrow.parquet as pq

        table, out = pq.read_table(io.BytesIO(data)), io.BytesIO()
        pq.write_table(table.slice(0, 39), out)
        return out.getvalue()

    evidence = proven(ctx, admin, forge(ctx, made, f"vectors.{COLLECTION}.parquet", cut))
    assert failed(evidence) == ["Vectors"] and "39" in said(evidence, "Vectors")
    broken = forge(ctx, made, f"vectors.{COLLECTION}.parquet", lambda data: b"PAR1" + data)
    assert "can't be read" in said(proven(ctx, admin, broken), "Vectors")


def test_a_match_that_is_not_the_recorded_one_is_found(ctx, made, admin):
    put_manifest(ctx, forged := replace(made, match=replace(made.match, missing=1, products=41)))
    evidence = proven(ctx, admin, forged)
    assert failed(evidence) == ["Vectors and products"]
    assert "otherwise than when they were backed up" in said(evidence, "Vectors and products")


def test_a_backup_of_the_first_format_is_proven_without_what_it_did_not_know(ctx, made, admin):
    old = replace(made, format=1, neighbours={}, match=None, engines={})
    stored(ctx, f"manifests/default/{made.id}.json").unlink()
    evidence = proven(ctx, admin, old)
    assert evidence.passed
    assert "no neighbours were recorded" in said(evidence, "Vectors")
    assert "Not in this store yet" in said(evidence, "Manifest")


def test_a_folder_that_was_no_collection_when_backed_up_is_said_so(ctx, made, admin):
    shutil.rmtree(ctx.settings.vector_dir)
    furnish(ctx, vectors=True, pictures=False)
    evidence = proven(ctx, admin, back_up(ctx, admin))
    assert evidence.passed
    assert "could not be read as collections when it was backed up" in said(evidence, "Vectors")


def test_neighbours_at_the_same_distance_may_come_in_any_order():
    recorded = Neighbours("a", ("a", "b", "c", "d"), (0.0, 0.2, 0.2, 0.5))
    for nearest, distances, same in (
        (("a", "c", "b", "d"), (0.0, 0.2, 0.2, 0.5), True),
        (("a", "b", "c", "e"), (0.0, 0.2, 0.2, 0.5), True),  # e ties with d at the end
        (("a", "b", "e", "d"), (0.0, 0.2, 0.2, 0.5), False),
        (("a", "b", "c", "d"), (0.0, 0.2, 0.2 + 4e-7, 0.5), True),
        (("a", "b", "c", "d"), (0.0, 0.2, 0.2 + 6e-7, 0.5), False),
        (("a", "b", "c"), (0.0, 0.2, 0.2), False),
        (("b", "a", "c", "d"), (0.0, 0.2, 0.2, 0.5), False),
    ):
        answered = Neighbours("a", nearest, distances)
        assert vectors.same_neighbours(recorded, answered) is same, nearest


def test_every_step_that_the_pages_may_show_is_named_once():
    names = [
        proving.MANIFEST, proving.OBJECTS, proving.DATABASE, proving.CONTROL, proving.KNOWLEDGE,
        proving.VECTORS, proving.PICTURES, proving.MATCH,
    ]  # fmt: skip
    assert len(set(names)) == len(names) and all(name.strip() for name in names)
