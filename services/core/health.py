"""Whether the desk itself can work; asked by a load balancer every few seconds."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from db.engine import read
from services.core.context import Context


def control_problem(ctx: Context) -> str:
    """Why the control database does not answer; empty when it does."""
    try:
        with read(ctx.control) as connection:
            connection.execute(text("SELECT 1 FROM accounts LIMIT 1"))
    except SQLAlchemyError:
        return "the control database does not answer"
    return ""
