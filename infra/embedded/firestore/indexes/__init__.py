"""Index definitions, the registry and backfill of composite indexes, and index entries."""
