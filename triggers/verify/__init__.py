"""Verifies stored samples and results: `python -m triggers.verify`."""
