"""The work that schedulers start, for schedulers that run commands instead of sending requests."""
