"""The data file: its format, upgrades, checks at a start, the marker, the reserve, and restoring a backup."""
