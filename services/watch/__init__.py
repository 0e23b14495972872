"""Samples of what is measured over time."""
