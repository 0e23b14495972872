"""Putting a snapshot back: what would change, how it is done, how it is undone."""
