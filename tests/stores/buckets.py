"""Rules that somebody else set on a bucket, and what the desk and the server say of it."""

from __future__ import annotations

from typing import Any

from services.protection.bucket.plan import Verdict
from services.protection.stores.s3_bucket import Item

FOREIGN = [
    {
        "ID": "their logs & <more>",
        "Filter": {"And": {"Prefix": "logs/", "Tags": [{"Key": "kind", "Value": "a&b"}]}},
        "Status": "Enabled",
        "Expiration": {"Days": 14},
        "Transitions": [{"Days": 3, "StorageClass": "GLACIER"}],
    },
    {
        "ID": "the old way",
        "Prefix": "old/",
        "Status": "Disabled",
        "Expiration": {"Date": "2031-01-01T00:00:00Z"},
    },
]


def verdicts(plan) -> dict[Item, Verdict]:
    return {line.item: line.verdict for line in plan.lines}


def rules_of(server, bucket: str) -> dict[str, dict[str, Any]]:
    found = server.client().get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    return {rule["ID"]: rule for rule in found}
