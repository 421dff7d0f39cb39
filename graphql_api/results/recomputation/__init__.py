"""The recomputation of results: its record, the samples to recompute, and the process that runs it."""
