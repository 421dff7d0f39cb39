"""From the bytes of a sample to its time stamp and numbers, or to a list of its problems."""
