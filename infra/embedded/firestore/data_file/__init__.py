"""The data file: its connections and format, upgrades, checks at a start, the marker, the reserve, and restoring."""
