"""One machine: supervisor, embedded Firestore and event delivery. Knows the product only through `stack.toml`."""
