"""Parsing, validation, billed sizes and sortable encodings of document names, fields and values."""
