"""The knowledge base as files: what is read from them, planned, applied and written."""
