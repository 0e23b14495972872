"""Unsaved work, kept on the server, and who is at work."""
