"""Supervisor, embedded Firestore and event delivery for one machine. Only `stack.toml` refers to Dropzone."""
