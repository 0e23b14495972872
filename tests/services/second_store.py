"""A desk with a second store, and what lies in either."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from services.core.context import Context
from services.protection.stores import open_store
from tests.doors import run_door
from tests.faults.scene import furnish
from tests.shops import add_order


def desk_with_copy(ctx: Context) -> Context:
    """A desk with a furnished shop and a second store in a folder of its own."""
    furnish(ctx)
    folder = ctx.settings.desk_home.parent / "second"
    folder.mkdir()
    return replace(
        ctx, settings=ctx.settings.model_copy(update={"backup_copy_url": f"file:{folder}"})
    )


def second_store(desk: Context):
    return open_store(desk.settings, place="copy")


def objects_in(store) -> dict[str, bytes]:
    found = {}
    for each in store.list(""):
        with store.open(each.key) as stream:
            found[each.key] = stream.read()
    return found


def folder_of(desk: Context, place: str = "copy") -> Path:
    url = desk.settings.copy_url if place == "copy" else desk.settings.store_url
    return Path(url.removeprefix("file:"))


def place_order(desk: Context, number: int) -> None:
    with closing(sqlite3.connect(desk.settings.shop_sqlite_path)) as db, db:
        add_order(db, number, random.Random(number))


def cli(desk: Context, door: str, *arguments: str, **environment: str):
    done = run_door(desk, f"services.{door}", *arguments, "--json", more=environment)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr
