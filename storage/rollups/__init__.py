"""Rollups: merged statistics of results per hour, how they are stored, read, and checked against the results."""
