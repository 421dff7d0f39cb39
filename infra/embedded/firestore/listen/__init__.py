"""Listen streams: targets, their snapshots, resume tokens."""
