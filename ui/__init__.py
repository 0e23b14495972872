"""What pages share: session, tables, charts, progress, words."""
