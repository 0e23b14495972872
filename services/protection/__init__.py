"""Snapshots: how they are made, listed, checked and put back."""
