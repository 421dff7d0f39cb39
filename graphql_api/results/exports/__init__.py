"""Results as a file: its formats, its columns, and their values."""
