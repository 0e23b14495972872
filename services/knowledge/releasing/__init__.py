"""Releases: numbered states of the knowledge base, and the folder the shop reads."""
