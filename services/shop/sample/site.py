"""Where the sample shop stands: built beside, moved into place, moved aside again.

Every step writes first what it is about to do, so a kill at any instant is finished at
the next start rather than left half done.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy import func, select

from db.control import snapshots
from db.engine import read
from services.core.context import Context, prepare_folder
from services.core.errors import Conflict, Misconfigured, Refused
from services.shop.sample import catalogue, database, fashion_kb, pictures, vectors
from services.shop.sample_state import (
    SampleShop,
    Stage,
    holds_other_shop,
    load_marker,
    marker_path,
    save_marker,
)

Progress = Callable[[str, float], None]

SEED = 20_261
_ASIDE = "removed-sample-"
_COMPANIONS = ("-journal", "-wal", "-shm")


def refusal(ctx: Context) -> str:
    """Why no sample shop may be built here now; empty when one may.

    A desk that was ever used with a real shop, or has backups, gets no sample data: what
    is missing there was lost, and must be restored rather than papered over.
    """
    settings = ctx.settings
    if settings.names_a_shop:
        return "The settings name a shop (DATABASE_URL, DB_PATH or SHOP_ROOT)."
    for name, path in _places(ctx).items():
        if not path.is_relative_to(settings.desk_home):
            return f"{name} points outside the desk's folder."
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            return f"There is something at {path} already."
    with read(ctx.control) as connection:
        if connection.scalar(select(func.count()).select_from(snapshots)):
            return "The desk has backups of a shop; restore one of them instead."
    return ""


def build(ctx: Context, progress: Progress, seed: int = SEED) -> SampleShop:
    """Build a sample shop beside, check it, move it into place.

    Raises:
        Refused: there is a shop, or something in its place.
    """
    reason = refusal(ctx)
    if reason:
        raise Refused(
            f"No sample shop was built. {reason}",
            "A sample shop is only for a desk that has no shop.",
        )
    scratch = _scratch(ctx)
    shutil.rmtree(scratch, ignore_errors=True)  # of a build that was killed
    progress("Inventing products, customers and orders", 0.05)
    contents = database.invent(seed, ctx.now())
    places = {
        name: scratch / path.relative_to(ctx.settings.desk_home)
        for name, path in _places(ctx).items()
    }
    for path in places.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    progress("Writing the sample shop's database", 0.1)
    database.write_database(places["DB_PATH"], contents)
    database.check_database(places["DB_PATH"])
    progress("Drawing 40 pictures", 0.25)
    pictures.write_pictures(places["GENERATED_IMAGES_DIR"], catalogue.pictured(contents.products))
    progress("Writing 200 vectors", 0.45)
    vectors.write_vectors(places["VECTOR_DB_PATH"], contents.products)
    shutil.copyfile(Path(fashion_kb.__file__), places["the knowledge module"])
    progress("Putting the sample shop in place", 0.75)
    files = [
        path.relative_to(scratch) for name, path in places.items() if name != "GENERATED_IMAGES_DIR"
    ]
    files += [
        path.relative_to(scratch) for path in sorted(places["GENERATED_IMAGES_DIR"].iterdir())
    ]
    sample = SampleShop(ctx.now(), seed, tuple(map(str, files)), Stage.PLACING)
    save_marker(marker_path(ctx.settings), sample)
    return place(ctx, sample)


def place(ctx: Context, sample: SampleShop) -> SampleShop:
    """Move what was built beside into place; also what a killed build left there."""
    scratch, home = _scratch(ctx), ctx.settings.desk_home
    _move(scratch, home, sample.files)
    shutil.rmtree(scratch, ignore_errors=True)
    ctx.shop.dispose()
    return _stage(ctx, sample, Stage.PLACED)


def mark_ready(ctx: Context, sample: SampleShop) -> SampleShop:
    """Note that the sample's knowledge base is in the desk's tables."""
    return _stage(ctx, sample, Stage.READY)


def remove(ctx: Context) -> Path:
    """Move exactly the sample shop's files into a folder of their own; finishes a killed move.

    Returns:
        The folder they lie in now.

    Raises:
        Refused: there is no sample shop.
        Conflict: the database in its place is not the sample's.
    """
    sample = _require(load_marker(marker_path(ctx.settings)))
    home = ctx.settings.desk_home
    for name in sample.files:
        if holds_other_shop(home / name):
            raise Conflict(
                f"The database at {home / name} is not the sample shop's any more; "
                "nothing was removed.",
                "Set DB_PATH (or SHOP_ROOT) to it, and it is your shop from the next start on.",
            )
    if not sample.aside:
        name = f"{_ASIDE}{ctx.now():%Y%m%dT%H%M%SZ}"
        sample = replace(sample, stage=Stage.REMOVING, aside=name)
        save_marker(marker_path(ctx.settings), sample)
    aside = prepare_folder(ctx.settings.instance_dir / sample.aside)
    _move(home, aside, sample.files)
    # Last, so that a kill before leaves a marker that says where to go on.
    marker_path(ctx.settings).rename(aside / marker_path(ctx.settings).name)
    for name in sample.files:
        _drop_if_empty((home / name).parent, home)
    ctx.shop.dispose()
    return aside


def removed(ctx: Context) -> Path | None:
    """The newest sample shop that was moved aside, or None."""
    found = sorted(ctx.settings.instance_dir.glob(f"{_ASIDE}*/{marker_path(ctx.settings).name}"))
    return found[-1].parent if found else None


def put_back(ctx: Context) -> SampleShop:
    """Undo the newest removal.

    Raises:
        Refused: none was removed, or something stands in its place.
    """
    aside = removed(ctx)
    if aside is None:
        raise Refused("No sample shop was removed here; nothing was changed.")
    sample = _require(load_marker(aside / marker_path(ctx.settings).name))
    home = ctx.settings.desk_home
    in_the_way = next((name for name in sample.files if (home / name).exists()), None)
    if ctx.settings.names_a_shop or in_the_way or marker_path(ctx.settings).exists():
        raise Refused(
            "The sample shop was not put back: there is a shop now.",
            f"It stays in {aside}.",
        )
    _move(aside, home, sample.files)
    ctx.shop.dispose()
    back = _stage(ctx, replace(sample, aside=""), Stage.READY)
    shutil.rmtree(aside)
    return back


def _require(sample: SampleShop | None) -> SampleShop:
    if sample is None:
        raise Refused("There is no sample shop here; nothing was changed.")
    return sample


def _places(ctx: Context) -> dict[str, Path]:
    """What the sample shop consists of, by the setting that places it; the database last."""
    database_file = ctx.settings.shop_sqlite_path
    if database_file is None:
        raise Misconfigured("A sample shop needs SQLite, and DATABASE_URL names another database.")
    return {
        "VECTOR_DB_PATH": ctx.settings.vector_dir,
        "GENERATED_IMAGES_DIR": ctx.settings.images_dir,
        "the knowledge module": ctx.settings.shop_kb_module,
        "DB_PATH": database_file,
    }


def _scratch(ctx: Context) -> Path:
    return ctx.settings.desk_home / ".sample-shop"


def _stage(ctx: Context, sample: SampleShop, stage: Stage) -> SampleShop:
    changed = replace(sample, stage=stage)
    save_marker(marker_path(ctx.settings), changed)
    return changed


def _move(source: Path, target: Path, files: tuple[str, ...]) -> None:
    for name in files:
        for here in (source / name, *(source / f"{name}{end}" for end in _COMPANIONS)):
            if here.exists():
                there = target / here.relative_to(source)
                there.parent.mkdir(parents=True, exist_ok=True)
                if there.is_dir():
                    there.rmdir()  # empty: refusal() looked
                shutil.move(here, there)  # a rename, or a copy where instance/ is a volume


def _drop_if_empty(folder: Path, home: Path) -> None:
    if folder != home and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
