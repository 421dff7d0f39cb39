"""Structured queries: filters, sort order, planning, scanning, aggregation, vector search and later changes."""
