"""Making a snapshot: of the live shop or of an old backup, which begin and end alike."""
