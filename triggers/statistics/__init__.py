"""The statistics of a sample, computed from its values. Opens no connection."""
