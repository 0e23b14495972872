"""Where backups lie: a local folder or an S3 bucket, behind one contract."""
