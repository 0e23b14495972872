"""How an S3 bucket is kept: looked at, planned, prepared."""
