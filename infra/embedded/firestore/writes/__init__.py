"""Writes, commits and transactions, with their locks and rate limits; pruning and time to live."""
