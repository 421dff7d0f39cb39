"""Rollups: merged statistics of results per hour. They are stored, read, and checked against the results."""
