"""From request bytes to a stored sample."""
