"""Index definitions, index entries, and the registry and the builds of indexes."""
