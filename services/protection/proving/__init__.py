"""Prove a snapshot: restore it aside, compare it with its manifest, keep the evidence."""
