"""Writes in groups, and the queue in which submitters take turns."""
