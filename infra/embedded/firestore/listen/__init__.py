"""Listen streams, their targets, and resume tokens."""
