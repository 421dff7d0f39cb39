"""The SQLite file: writer, versions, change feed, clocks, checkpoints, and results of queries at earlier read times."""
