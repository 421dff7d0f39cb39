"""Builds the rollups of all submitters, in the background and in steps of limited work."""
