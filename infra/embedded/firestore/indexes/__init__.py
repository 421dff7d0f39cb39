"""Index definitions and entries, the registry and the builds of indexes, and results at earlier read times."""
