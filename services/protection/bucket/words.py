"""What "Prepare bucket" says to a person: reasons, warnings, the stages of a snapshot's life."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from services.core.settings import Settings
from services.protection.archive.fees import MINIMUM_DAYS
from services.protection.stores.s3_bucket import Bucket, Found, Item
from services.protection.stores.s3_lifecycle import (
    ABORT_DAYS,
    FOLDERS,
    Rule,
    archives,
    deletes,
    touches,
)

WHY = {
    Item.PUBLIC: "Backups hold customers' data; no policy or object may ever make them public.",
    Item.ENCRYPTION: "What lies on the provider's disks is encrypted, whoever wrote it.",
    Item.VERSIONING: "What is deleted or overwritten by mistake can be brought back for a while.",
    Item.LOCK: "Nobody removes a new backup in that time, not even with the desk's own keys.",
}
UNSUPPORTED = {
    Item.PUBLIC: "This server has no such setting; see that it does not publish the bucket.",
    Item.ENCRYPTION: "This server does not encrypt by itself. BACKUP_AGE_RECIPIENTS encrypts "
    "backups before they leave this machine.",
    Item.VERSIONING: "This server keeps no old versions.",
    Item.LIFECYCLE: "This server moves and removes nothing by itself. Retention works all the "
    "same; unfinished uploads are cleared away by the desk.",
    Item.LOCK: "This server can't keep objects from being removed.",
}
FORBIDDEN = (
    "The credentials may not see this setting. docs/deploy/s3-policy.json allows it, "
    "s3-policy-prepare.json allows changing it."
)
NO_LOCK = (
    "OBJECT_LOCK_DAYS asks for it, but this bucket was made without Object Lock. Make a bucket "
    "that has it, or switch it on at AWS first."
)
UNCOMPARED = (
    "Whether the bucket's key is the one that the alias stands for can't be compared: these "
    "credentials may not ask KMS (kms:DescribeKey)."
)
CLASS = {
    "GLACIER_IR": ("Glacier Instant Retrieval", "readable at once, for a fee"),
    "GLACIER": ("Glacier Flexible Retrieval", "brought back in minutes to hours"),
    "DEEP_ARCHIVE": ("Glacier Deep Archive", "brought back in 12 to 48 hours"),
}


def encryption(algorithm: str, key: str) -> str:
    """The default encryption of a bucket."""
    known = {"": "none", "AES256": "SSE-S3 (AES-256)", "aws:kms": "SSE-KMS"}
    name = known.get(algorithm, algorithm)
    return f"{name}, key {key}" if key else name


def rules(present: Sequence[Rule], foreign: int) -> str:
    """How many lifecycle rules there are, and what ours do."""
    said = []
    for rule in present:
        for move in rule.get("Transitions") or ():
            said.append(f"data/ to {move.get('StorageClass')} after {move.get('Days')} days")
    tidy = [rule for rule in present if rule.get("NoncurrentVersionExpiration")]
    if tidy:
        days = {rule["NoncurrentVersionExpiration"].get("NoncurrentDays") for rule in tidy}
        ages = " or ".join(str(day) for day in sorted(days, key=str))
        said.append(f"old versions go after {ages} days, unfinished uploads after {ABORT_DAYS}")
    text = "; ".join(said) or "no rule of the desk"
    if foreign:
        text += f" (and {foreign} rule{'s' if foreign > 1 else ''} of others)"
    return text


def lifecycle(settings: Settings, old_version_days: int) -> str:
    """Why the lifecycle is as it is planned."""
    if not settings.archive_after_days:
        start = "ARCHIVE_AFTER_DAYS is 0: nothing is archived."
    else:
        start = "Old backups are rarely read and cost a fraction in an archive."
    return (
        f"{start} Manifests, pictures, pins and evidence are never archived. Deleted data stays "
        f"{old_version_days} days as an old version. Rules of others stay as they are."
    )


def lock(held: dict[str, Any], *, possible: bool) -> str:
    """The default retention of a bucket."""
    if not held:
        return "possible, no default" if possible else "not possible in this bucket"
    years, days = held.get("Years"), held.get("Days")
    span = f"{years} years" if years else f"{days} days"
    return f"{span}, {str(held.get('Mode', '')).lower()}"


def removals(settings: Settings) -> list[tuple[int, str]]:
    """When retention removes snapshots: day and which ones, earliest first."""
    found = [
        (settings.keep_days, "daily"),
        (settings.keep_weeks * 7, "weekly"),
        (settings.keep_months * 30, "monthly"),
    ]
    return sorted((day, what) for day, what in found if day)


def fees(settings: Settings) -> Iterator[str]:
    """Which snapshots would be removed before the archive's minimum time is over."""
    start, storage = settings.archive_after_days, settings.archive_class
    if not start:
        return
    least = MINIMUM_DAYS[storage]
    early = [(day, what) for day, what in removals(settings) if start < day < start + least]
    for day, what in early:
        yield (
            f"{what.capitalize()} backups are removed on day {day}, "
            f"{day - start} days after they are archived, but {storage} is paid for at least "
            f"{least} days: the other {least - (day - start)} are paid for nothing."
        )
    if early:
        yield (
            f"ARCHIVE_AFTER_DAYS={max(day for day, _ in early)} would archive only what stays "
            "longer, without these fees."
        )


def of_others(foreign: Sequence[Rule], prefix: str, instance: str) -> Iterator[str]:
    """Rules of others that would remove or archive what the desk wrote."""
    for rule in foreign:
        name = rule.get("ID") or "(no id)"
        hit = [each for each in FOLDERS if touches(rule, f"{prefix}{each}/{instance}/")]
        if hit and deletes(rule):
            yield (
                f"The rule {name} of others removes objects in {', '.join(hit)}: backups would "
                "vanish without the desk's doing. Narrow it to its own prefix."
            )
        never = [each for each in hit if each != "data"]
        if never and archives(rule):
            yield (
                f"The rule {name} of others archives {', '.join(never)}: backups could then not "
                "even be listed. Narrow it to its own prefix."
            )


def about_archive(settings: Settings, bucket: Bucket) -> Iterator[str]:
    """What archiving means for the rest of the desk."""
    if not settings.archive_after_days:
        return
    if bucket.found[Item.LIFECYCLE] is Found.UNSUPPORTED:
        yield "ARCHIVE_AFTER_DAYS is set, but this server archives nothing: all stays readable."
        return
    yield (
        "Objects under 128 KB (the knowledge base, small lists) are not moved by AWS and stay in "
        "Standard; they cost next to nothing there."
    )
    if settings.archive_class != "GLACIER_IR":
        yield (
            f"After {settings.archive_after_days} days a restore or a drill first has to bring "
            "the backup back: that takes hours and has a price."
        )


def about_lock(settings: Settings, bucket: Bucket) -> Iterator[str]:
    """What Object Lock means for retention."""
    days, keeps = settings.object_lock_days, settings.keep_days
    if days > keeps and bucket.found[Item.LOCK] is Found.SET:
        yield (
            f"OBJECT_LOCK_DAYS ({days}) is more than KEEP_DAYS ({keeps}): what retention removes "
            "leaves the list, but stays in the bucket and is paid for until its lock ends."
        )
