"""Where a recovery puts a PostgreSQL database: into a new one beside it, which takes its name.

The database that the setting names may be missing or empty. An empty one is kept under
another name; one with rows is never touched.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy import Engine, make_url

from db.engine import control_engine
from db.knowledge import VERSION_TABLE
from services.core.context import Context
from services.core.errors import Broken, Conflict
from services.core.settings import mask_url
from services.protection import snapshots
from services.protection.model import Component, Manifest, Part
from services.protection.proving import aside
from services.protection.rescue import staging
from services.protection.rescue.boundary import reached
from services.protection.rescue.fresh_control import settle, words
from services.protection.sources import postgres
from services.protection.sources.pg_facts import tables_in
from services.protection.stores.base import Store

_ROOM_FOR_NAME = 30
_SHOWN = 4


class ServerPlane:
    """A place for a database on a server."""

    def __init__(
        self,
        ctx: Context,
        store: Store,
        manifest: Manifest,
        component: Component,
        what: str,
        url: str,
    ) -> None:
        self.ctx, self.store, self.manifest, self.component = ctx, store, manifest, component
        self.what, self._url = what, url
        self._live = postgres.database_name(url)
        mark = manifest.id.lower().replace("-", "_")
        self._side = f"{self._live[:_ROOM_FOR_NAME]}_recovery_{mark}"
        self._before = f"{self._live[:_ROOM_FOR_NAME]}_before_{mark}"
        self._dump = ctx.settings.temp_dir / f"recovery-{manifest.id}" / component.name

    @property
    def where(self) -> str:
        """See `Plane.where`."""
        return mask_url(self._url)

    def require_free(self) -> str:
        """See `Plane.require_free`."""
        if not self._there(self._live):
            return ""
        held = self._held()
        if held:
            raise Conflict(
                f"There is already something in the place of {self.what}: the database "
                f"{self._live} holds rows ({', '.join(held)}). Nothing was changed; a recovery "
                "never overwrites data.",
                f"If nobody needs it, rename it (ALTER DATABASE {self._live} RENAME TO ...), or "
                "let the variable name a new database, and run this again.",
            )
        return f"(the empty database there is kept as {self._before})"

    def wants(self) -> list[tuple[Path, int]]:
        """See `Plane.wants`: the dump lies here while it is put in; the server has its own
        disk."""
        return [(self._dump.parent, self.component.plain_bytes)]

    def stage(self) -> str:
        """See `Plane.stage`."""
        if staging.sha256_of(self._dump) != self.component.plain_sha256:
            self._dump.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            snapshots.fetch(self.ctx, self.store, self.manifest, self.component.name, self._dump)
        # Half filled or whole, nobody can tell: it is made anew. Others were given up.
        for name in postgres.databases(self._url, f"{self._live[:_ROOM_FOR_NAME]}_recovery_"):
            postgres.drop_side(self._url, name)
        postgres.create_side(self._url, self._side)
        reached(f"{self.component.part} side made")
        folders = self.ctx.settings.postgres_tools
        notes = postgres.restore_into(self._url, self._side, self._dump, folders=folders)
        proved = self._shop() if self.component.part is Part.DATABASE else self._control()
        self._dump.unlink()
        return " ".join([proved, *notes])

    def staged_engine(self) -> Engine:
        """See `Plane.staged_engine`."""
        return control_engine(self._side_url())

    def clear(self) -> None:
        """See `Plane.clear`."""
        postgres.drop_side(self._url, self._side)
        shutil.rmtree(self._dump.parent, ignore_errors=True)

    def place(self) -> None:
        """See `Plane.place`."""
        if not self._there(self._side):
            return
        if self._there(self._live) and self._held():
            raise Conflict(
                f"A program wrote into the database {self._live} while the recovery ran. The "
                f"recovered one is complete and waits as {self._side}.",
                "Stop that program (the shop?), rename its database, and run this again.",
            )
        postgres.swap(self._url, self._side, self._before)
        reached(f"{self.component.part} swapped")

    def check(self) -> str:
        """See `Plane.check`."""
        names = postgres.table_names(self._url)
        wanted = {name for name in self.manifest.tables if "." not in name}
        if self.component.part is Part.DATABASE and not wanted <= names:
            raise Broken(f"The database {self._live} lacks tables where it stands now.")
        return f"{len(names)} tables of {self.what}"

    def _shop(self) -> str:
        url = self._side_url()
        facts = postgres.table_facts(url)
        violations = postgres.foreign_key_violations(url)
        restored = aside.Restored("Restored by pg_restore", postgres.DIGEST, facts, violations, {})
        return aside.compare(restored, self.manifest)

    def _control(self) -> str:
        engine = control_engine(self._side_url())
        try:
            return words(settle(engine, self.ctx.now(), self.manifest.id))
        finally:
            engine.dispose()

    def _side_url(self) -> str:
        return make_url(self._url).set(database=self._side).render_as_string(hide_password=False)

    def _there(self, name: str) -> bool:
        return name in postgres.databases(self._url, name)

    def _held(self) -> list[str]:
        """Tables with rows, and how many; what a desk leaves in an empty one does not count."""
        from psycopg import sql

        counts = _of_shop if self.component.part is Part.DATABASE else _of_control
        found: list[str] = []
        with postgres.connect(self._url) as connection:
            for table in tables_in(connection):
                if counts(table.name) and len(found) < _SHOWN:
                    query = sql.SQL("SELECT count(*) FROM {}").format(table.identifier())
                    row = connection.execute(query).fetchone()
                    if row and row[0]:
                        found.append(f"{row[0]:,} {table.title}")
        return found


def _of_shop(table: str) -> bool:
    return table != VERSION_TABLE


def _of_control(table: str) -> bool:
    return table == "accounts"
