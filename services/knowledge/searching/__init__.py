"""Finding entries: by their words, and by what they mean."""
