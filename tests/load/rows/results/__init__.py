"""Rows about stored samples and results: pages, counts, summaries, exports, tables and the dashboard."""
