"""A second copy of every snapshot, in a place of its own (`BACKUP_COPY_URL`).

What is copied are the stored bytes: packed, encrypted and signed as they are, so that the
copy opens with the same keys and holds the same digests. The manifest goes last; a copy
without one is none. How long copies stay is told in `keeping`.
"""
