"""PostgreSQL databases of a snapshot, restored into a side database and looked into."""

from __future__ import annotations

from pathlib import Path

from services.core.context import Context
from services.core.errors import Misconfigured
from services.protection.proving.aside import Restored


def shop_database(ctx: Context, dump: Path) -> Restored:
    """Restore the shop's dump into a side database, look into it, and drop it again."""
    raise Misconfigured("PostgreSQL dumps can't be drilled yet.")


def control_database(ctx: Context, dump: Path) -> str:
    """The same for the desk's own; gives its revision."""
    raise Misconfigured("PostgreSQL dumps can't be drilled yet.")
