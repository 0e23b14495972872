"""The fashion knowledge base: sections, entries, change sets, import and export."""
