"""Structured queries: filters, order, planning, scanning, aggregation, vector search, listing and partitions."""
