"""Backups that the shop's old scripts left in a bucket: read, never written or deleted.

They lie below `backups/`, have no manifest, and nobody ever read one back. What is taken from
there becomes an ordinary snapshot of ours first, with a manifest, digests and a note of where
it came from; from then on it is restored, drilled and undone like any other.
"""
