"""Structured queries: filters, sort order, planning, scanning, aggregation, vector search, listing and partitions."""
