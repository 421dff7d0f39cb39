"""The deletion of samples: its record, the documents to delete, and the process that runs it."""
