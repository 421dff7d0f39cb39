"""Index definitions, composite indexes and their backfill, and the index entries of a document."""
