"""The log on standard error: how much, and from whom never everything."""

from __future__ import annotations

import logging

TELLTALES = ("apprise", "boto3", "botocore", "s3transfer", "sqlalchemy", "urllib3")
"""Libraries that write headers, tokens and rows into their log when asked for all of it."""


def configure(level: str) -> None:
    """Send the log to standard error from this level on.

    Args:
        level: `DEBUG`, `INFO`, `WARNING` or `ERROR`; libraries that would write down secrets
            or customers' data at the first two stay at `WARNING`.
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger().setLevel(level)
    for name in TELLTALES:
        logging.getLogger(name).setLevel(logging.WARNING)
    if level != "DEBUG":
        logging.getLogger("alembic").setLevel(logging.WARNING)
