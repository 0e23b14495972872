"""Snapshots that lie in an archive class, and their way back."""
