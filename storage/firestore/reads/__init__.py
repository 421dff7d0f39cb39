"""Grouped reads, and pages of documents that are read in threads."""
