"""Search by what is meant, with Chroma and its default model, where that is on the machine."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from services.core.context import Context


def ask(ctx: Context, connection: Connection, question: str) -> Sequence[tuple[int, float]] | str:
    """Entries that mean the like of a question, the nearest first; or why that can't be told."""
    del ctx, connection, question
    return "It can't be searched by meaning here."


def missing(ctx: Context) -> str:
    """Why it can't be searched by meaning, in words for a person; empty where it can."""
    del ctx
    return "It can't be searched by meaning here."
