"""Writes and commits: preconditions, transforms, transactions, locks, rate limits, pruning, time to live."""
