"""The SQLite file: the writer and its group commits, versions of documents, changes in commit order, checkpoints."""
