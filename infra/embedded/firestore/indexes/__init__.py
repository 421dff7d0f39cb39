"""Which indexes are defined, which are built, and the entries that a document has in them."""
