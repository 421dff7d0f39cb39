"""Conditions of queries, grouped reads, and pages of documents that are read in threads."""
