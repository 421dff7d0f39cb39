"""The SQLite file: the writer with group commits, document versions, the change feed, the clocks, and checkpoints."""
