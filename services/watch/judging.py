"""Is the data safe? A pure judgement over facts: the same facts always give the same words."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from services.watch.posture import Action, Facts, Finding, Posture, Snapshot, State, Tone, Trouble

STALE = timedelta(hours=26)
"""A daily backup that is two hours late. Older than this, what would be lost is too much."""
PROOF_LASTS = timedelta(days=30)
"""Without a passed test restore for so long, what is stored is believed and not known."""
NEW_DESK = timedelta(days=7)
"""So long after the first backup a desk need not have proven one."""
DISK_LOW = 0.10
"""Below this share of free space a disk needs attention."""
DISK_FULL = 0.03
"""Below this the next backup or order may not fit."""


def judge(facts: Facts, now: datetime) -> Posture:
    """Say whether the data is safe, and why not where it isn't.

    What you would get back is the newest snapshot that was read back in full or proven; only
    where none was, the newest one that was made, and then the state is not "safe". Nor is it
    when the last test restore that passed is older than `PROOF_LASTS`; a desk whose first
    backup is younger than `NEW_DESK` only has it pointed out.

    Args:
        facts: as gathered at `now`.
        now: aware.
    """
    findings = [
        *_about_restores(facts),
        *_about_the_shop(facts),
        *_about_backups(facts, now),
        *_about_proofs(facts, now),
        *_about_the_store(facts),
        *_about_the_copy(facts),
        *_about_the_archive(facts),
        *_about_disks(facts),
        *_about_vectors(facts),
        *_about_releases(facts),
        *_about_knowledge(facts),
    ]
    order = list(Tone)
    findings.sort(key=lambda finding: order.index(finding.tone))
    if facts.newest is None:
        state = State.UNPROTECTED
    elif any(finding.tone is Tone.BAD and not finding.covered for finding in findings):
        state = State.AT_RISK
    else:
        state = State.SAFE
    return Posture(
        state,
        facts.newest_trusted or facts.newest,
        tuple(finding for finding in findings if not finding.covered),
        tuple(finding for finding in findings if finding.covered),
    )


def _about_restores(facts: Facts) -> list[Finding]:
    trouble = facts.interrupted_restore
    if trouble is None:
        return []
    return [
        Finding(
            "restore",
            Tone.BAD,
            trouble.message,
            trouble.hint,
            trouble.at,
            Action.SEE_BACKUPS,
        )
    ]


def _about_the_shop(facts: Facts) -> list[Finding]:
    trouble = facts.shop_trouble
    if trouble is None:
        return []
    return [
        Finding("shop", Tone.BAD, trouble.message, trouble.hint, trouble.at, Action.SEE_BACKUPS)
    ]


def failed_backup(trouble: Trouble) -> Finding:
    """The last backup did not succeed; said at once by the job itself, too."""
    return Finding(
        "failed",
        Tone.BAD,
        f"The last backup failed. {trouble.message}",
        trouble.hint,
        trouble.at,
        Action.BACK_UP,
    )


def failed_drill(trouble: Trouble) -> Finding:
    """A test restore did not pass; said at once by the drill itself, too."""
    return Finding(
        "proof failed",
        Tone.BAD,
        trouble.message,
        "Back up now and drill that one: what was found is in the damaged one's panel.",
        trouble.at,
        Action.SEE_DAMAGED,
        trouble.subject,
    )


def _about_backups(facts: Facts, now: datetime) -> list[Finding]:
    found = []
    failed = facts.failed_backup
    if failed is not None and _is_news(failed, facts.newest):
        found.append(failed_backup(failed))
    if facts.newest is None:
        found.append(
            Finding(
                "none",
                Tone.BAD,
                "There is no backup yet.",
                "The first one takes a moment; after that, let cron make one every night.",
                None,
                Action.BACK_UP,
                covered=failed is not None or facts.shop_trouble is not None,
            )
        )
        return found
    if facts.newest.problem:
        found.append(
            Finding(
                "damaged",
                Tone.BAD,
                f"The newest backup can't be trusted. {facts.newest.problem}",
                "Make another one now; the damaged one stays where it is.",
                facts.newest.at,
                Action.BACK_UP,
                covered=f"store {facts.newest.id}"
                in {each.subject for each in facts.failed_proofs},
            )
        )
    elif facts.newest_trusted is None:
        found.append(
            Finding(
                "unverified",
                Tone.BAD,
                "No backup has been read back in full yet.",
                "Open the newest one and read it back, or make another: that is read back at once.",
                facts.newest.at,
                Action.SEE_BACKUPS,
            )
        )
    return found + _about_their_age(facts, facts.newest, now)


def _about_their_age(facts: Facts, newest: Snapshot, now: datetime) -> list[Finding]:
    # Said beside a backup that failed, too: that one may be muted, and this is worse.
    good = facts.newest_trusted or newest
    if now - good.at <= STALE:
        return []
    which = (
        "The newest backup" if good == newest else "The newest backup that was read back in full"
    )
    return [
        Finding(
            "stale",
            Tone.BAD,
            f"{which} is more than a day old.",
            "Back up now, and see why the nightly backup did not run.",
            good.at + STALE,
            Action.BACK_UP,
        )
    ]


def _is_news(failed: Trouble, newest: Snapshot | None) -> bool:
    return newest is None or failed.at is None or failed.at > newest.at


def _about_proofs(facts: Facts, now: datetime) -> list[Finding]:
    found = [failed_drill(trouble) for trouble in facts.failed_proofs]
    newest_is_damaged = facts.newest is not None and bool(facts.newest.problem)
    if facts.damaged:
        found.append(
            Finding(
                "damaged older",
                Tone.WARNING,
                "One older backup is damaged."
                if facts.damaged == 1
                else f"{facts.damaged} older backups are damaged.",
                "Later ones passed. Its panel says what was found; it can't be relied on.",
                None,
                Action.SEE_DAMAGED,
                covered=newest_is_damaged or bool(facts.failed_proofs),
            )
        )
    if facts.newest is None:
        return found
    covered = facts.newest_trusted is None or bool(facts.failed_proofs)
    return found + [
        replace(finding, covered=covered) for finding in _about_the_age_of_the_proof(facts, now)
    ]


def _about_the_age_of_the_proof(facts: Facts, now: datetime) -> list[Finding]:
    where = (
        "It takes minutes, and nothing live is touched. Let cron make one every day (docs/deploy)."
        if facts.can_open
        else "The backups are encrypted: run `python services/drill.py` where the identity lies."
    )
    action = Action.DRILL if facts.can_open else Action.SEE_BACKUPS
    if facts.last_proof is None:
        first = facts.first_backup_at or now
        is_new = now - first <= NEW_DESK
        return [
            Finding(
                "unproven",
                Tone.NOTE if is_new else Tone.BAD,
                "Not proven yet: no backup has been restored as a test.",
                where,
                None if is_new else first,
                action,
            )
        ]
    if now - facts.last_proof.at > PROOF_LASTS:
        return [
            Finding(
                "proof old",
                Tone.BAD,
                f"The last test restore is {(now - facts.last_proof.at).days} days old.",
                where,
                facts.last_proof.at + PROOF_LASTS,
                action,
            )
        ]
    return []


def _about_vectors(facts: Facts) -> list[Finding]:
    if not facts.mismatch or facts.newest is None:
        return []
    return [
        Finding(
            "vectors",
            Tone.WARNING,
            f"Vectors and products do not match: {facts.mismatch}.",
            "The newest backup lists them and says why that may be.",
            facts.newest.at,
            Action.SEE_BACKUPS,
        )
    ]


def _about_the_store(facts: Facts) -> list[Finding]:
    found, trouble = [], facts.store_trouble
    if trouble is not None:
        found.append(
            Finding(
                "store",
                Tone.BAD,
                trouble.message,
                trouble.hint,
                trouble.at,
                Action.SEE_BACKUPS,
            )
        )
    if facts.store_shares_disk:
        found.append(
            Finding(
                "same disk",
                Tone.WARNING,
                "Backups lie on the same disk as the shop: if that disk dies, both are gone.",
                "Set S3_BACKUP_BUCKET, or BACKUP_STORE_URL to a folder on another disk.",
                None,
                Action.SEE_STORE,
                covered=trouble is not None,
            )
        )
    return found


def _about_the_copy(facts: Facts) -> list[Finding]:
    trouble = facts.copy_trouble
    if trouble is None:
        return []
    # The first store has everything: what is missing is the second chance.
    return [
        Finding("copy", Tone.WARNING, trouble.message, trouble.hint, trouble.at, Action.SEE_COPY)
    ]


def _about_the_archive(facts: Facts) -> list[Finding]:
    news = facts.archive_news
    if news is None:
        return []
    return [Finding("archive", Tone.NOTE, news.message, news.hint, news.at, Action.SEE_BACKUPS)]


def _about_disks(facts: Facts) -> list[Finding]:
    return [
        Finding(
            "disk",
            Tone.BAD if disk.free_share < DISK_FULL else Tone.WARNING,
            f"The disk of {disk.name.replace(' + ', ' and ')} is {1 - disk.free_share:.0%} full.",
            "Free some space; a backup needs room for one copy of the database.",
            None,
            Action.SEE_DISKS,
            disk.name,
        )
        for disk in facts.disks
        if disk.free_share < DISK_LOW
    ]


def _about_releases(facts: Facts) -> list[Finding]:
    # No data is lost by it: whoever buys is answered as before.
    folder = () if facts.folder_trouble is None else (("unpublished", facts.folder_trouble),)
    late = (("release late", trouble) for trouble in facts.unreached or ())
    return [
        Finding(
            code,
            Tone.WARNING,
            trouble.message,
            trouble.hint,
            trouble.at,
            Action.SEE_RELEASES,
            trouble.subject,
        )
        for code, trouble in (*late, *folder)
    ]


def _about_knowledge(facts: Facts) -> list[Finding]:
    if not facts.kb_empty or not facts.kb_module or facts.shop_trouble is not None:
        return []
    return [
        Finding(
            "knowledge",
            Tone.NOTE,
            "The knowledge base is empty, and the shop has one that can be imported.",
            "It is read, never run; you see what comes in before it is saved.",
            None,
            Action.IMPORT_KB,
        )
    ]
