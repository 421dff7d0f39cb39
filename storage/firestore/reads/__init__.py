"""Reads that are grouped, and pages of documents that threads read."""
