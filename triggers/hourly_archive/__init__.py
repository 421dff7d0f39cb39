"""Moves expired results into the hourly archive, for submitters that keep hourly statistics."""
