"""Door: build the sample shop, remove it, put it back.

`python -m services.sample build | remove | put-back | status` does the same without a
browser. Removing moves the sample aside and deletes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run as a file, Python puts services/ first on the path, ahead of the standard library.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
from collections.abc import Callable

from services.core import audit, jobs
from services.core.access import (
    Actor,
    Permission,
    command_line_actor,
    require,
    system_actor,
)
from services.core.context import Context, open_context
from services.core.errors import EXIT_DONE, EXIT_USAGE, Invalid, Refused, describe, exit_code
from services.knowledge.exchange import applying
from services.protection.model import PROTECTION_LOCK
from services.shop.attach import attach
from services.shop.sample import site
from services.shop.sample_state import SampleShop, Stage, is_sample, load_marker, marker_path

AUTHOR = "Sample shop"
REMOVE_WORD = "remove sample"
"""What a person types to remove the sample shop."""
ATTACH_HINT = (
    "To attach your shop, set SHOP_ROOT (or DATABASE_URL or DB_PATH) in .env as the shop has "
    "it, set INSTANCE_ID to a name of its own, and start the desk again."
)

Watcher = Callable[[str, float | None], None]


def _silent(_step: str, _fraction: float | None) -> None:
    """Nobody watches."""


def wanted(ctx: Context) -> bool:
    """Whether a start should build the sample shop: no shop was ever here, and none was refused.

    A sample that somebody removed does not come back by itself, and production gets none.
    """
    settings = ctx.settings
    if settings.app_env == "production" or site.removed(ctx) is not None:
        return False
    unfinished = load_marker(marker_path(settings))
    if unfinished is not None:
        return unfinished.stage in (Stage.PLACING, Stage.PLACED)
    return not site.refusal(ctx)


def may_be_put_back(ctx: Context) -> bool:
    """Whether a removed sample shop could be put back: it is there, and no shop is."""
    path = ctx.settings.shop_sqlite_path
    if ctx.settings.names_a_shop or path is None or path.exists():
        return False
    return site.removed(ctx) is not None


def build(ctx: Context, actor: Actor, *, watcher: Watcher = _silent) -> SampleShop:
    """Build the sample shop and attach it; goes on where a killed build stopped.

    Args:
        watcher: called with every (step, fraction).

    Raises:
        Refused: a shop is named, or something is where the sample would go.
        Busy: a backup, a restore or another build is running.
    """
    require(actor, Permission.SAMPLE_MANAGE)
    there = load_marker(marker_path(ctx.settings))
    if there is not None and there.stage in (Stage.READY, Stage.REMOVING):
        raise Refused(
            "There is a sample shop already; nothing was built.",
            "Remove it first; a removal that was interrupted is finished by the same command.",
        )

    def work(handle: jobs.JobHandle) -> dict[str, int]:
        sample = load_marker(marker_path(ctx.settings))
        if sample is None:
            sample = site.build(ctx, handle.step)
        elif sample.stage is Stage.PLACING:
            sample = site.place(ctx, sample)
        handle.step("Adding the desk's tables and the sample's knowledge base", 0.8)
        attach(ctx)
        if sample.stage is Stage.PLACED:
            _fill_knowledge(ctx)
            site.mark_ready(ctx, sample)
        _tell(ctx, actor, "sample.build", "Built the sample shop")
        return {"files": len(sample.files)}

    job = jobs.create(ctx, actor, "sample.build", lock=PROTECTION_LOCK)
    jobs.run(ctx, job, work, watcher=watcher)
    return _marked(ctx)


def remove(ctx: Context, actor: Actor, typed: str) -> Path:
    """Move the sample shop's files, and nothing else, into a folder below `instance/`.

    Args:
        typed: must be `REMOVE_WORD`.

    Returns:
        The folder; `put_back` undoes it.

    Raises:
        Invalid: something else was typed.
        Refused: there is no sample shop, or a real database stands in its place.
        Busy: a backup or a restore is running.
    """
    require(actor, Permission.SAMPLE_MANAGE)
    if typed.strip().lower() != REMOVE_WORD:
        raise Invalid(f"Type “{REMOVE_WORD}” to remove the sample shop. Nothing was changed.")

    return _move_aside(ctx, actor)


def finish_removal(ctx: Context) -> Path | None:
    """Finish a removal that was killed half way; for the start of the desk.

    Returns:
        The folder, or None where there was nothing to finish.
    """
    there = load_marker(marker_path(ctx.settings))
    if there is None or there.stage is not Stage.REMOVING:
        return None
    return _move_aside(ctx, system_actor())


def put_back(ctx: Context, actor: Actor) -> SampleShop:
    """Undo the newest removal of the sample shop.

    Raises:
        Refused: none was removed, or there is a shop now.
        Busy: a backup or a restore is running.
    """
    require(actor, Permission.SAMPLE_MANAGE)

    def work(handle: jobs.JobHandle) -> dict[str, int]:
        handle.step("Putting the sample shop back", 0.5)
        sample = site.put_back(ctx)
        _tell(ctx, actor, "sample.put_back", "Put the sample shop back")
        return {"files": len(sample.files)}

    job = jobs.create(ctx, actor, "sample.put_back", lock=PROTECTION_LOCK)
    jobs.run(ctx, job, work)
    return _marked(ctx)


def _move_aside(ctx: Context, actor: Actor) -> Path:
    def work(handle: jobs.JobHandle) -> dict[str, str]:
        handle.step("Moving the sample shop aside", 0.5)
        aside = site.remove(ctx)
        _tell(ctx, actor, "sample.remove", f"Moved the sample shop to {aside.name}")
        return {"folder": str(aside)}

    job = jobs.create(ctx, actor, "sample.remove", lock=PROTECTION_LOCK)
    ended = jobs.run(ctx, job, work)
    return Path((ended.result or {})["folder"])


def _fill_knowledge(ctx: Context) -> None:
    author = system_actor(AUTHOR)
    module = ctx.settings.shop_kb_module
    plan = applying.preview(ctx, author, module.name, module.read_bytes())
    if not plan.is_empty:  # else a build that was killed had come so far
        applying.apply_import(ctx, author, plan, reason="The sample shop's own advice")


def _marked(ctx: Context) -> SampleShop:
    sample = load_marker(marker_path(ctx.settings))
    if sample is None:
        raise Invalid("The sample shop was removed by somebody else meanwhile.")
    return sample


def _tell(ctx: Context, actor: Actor, action: str, summary: str) -> None:
    audit.note(ctx, actor, action, ("shop", "sample"), summary)


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.sample", description=__doc__)
    parser.add_argument("what", choices=("status", "build", "remove", "put-back"))
    try:
        what = parser.parse_args(arguments).what
    except SystemExit as stop:
        return EXIT_USAGE if stop.code else EXIT_DONE
    try:
        ctx = open_context()
        actor = command_line_actor()
        print(_answer(ctx, actor, what))
    except Exception as error:  # whatever it is, a terminal gets words and an exit code
        message, hint, _error_id = describe(error)
        print(f"{message}\n{hint}".strip(), file=sys.stderr)
        return exit_code(error)
    return EXIT_DONE


def _answer(ctx: Context, actor: Actor, what: str) -> str:
    if what == "build":
        build(ctx, actor, watcher=lambda step, _fraction: print(f"  {step} ..."))
        return "The sample shop is there."
    if what == "remove":
        aside = remove(ctx, actor, _asked(f"Type “{REMOVE_WORD}” to move the sample shop aside: "))
        return f"The sample shop lies in {aside}. `put-back` undoes this.\n{ATTACH_HINT}"
    if what == "put-back":
        put_back(ctx, actor)
        return "The sample shop is back."
    return "The desk runs on sample data." if is_sample(ctx) else "There is no sample shop."


def _asked(question: str) -> str:
    try:
        return input(question)
    except EOFError:  # nobody is there to answer
        return ""


if __name__ == "__main__":
    sys.exit(main())
