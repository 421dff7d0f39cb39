"""The SQLite file: documents and their versions, the one writer, changes in order of commit."""
