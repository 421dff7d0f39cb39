"""Validation of a sample: read its time stamp and its numbers, or list its problems."""
