"""Index definitions and entries, the registry and the builds of indexes."""
