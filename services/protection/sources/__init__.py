"""What is captured: a source per kind of data."""
