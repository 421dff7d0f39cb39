"""A Firestore client for the v1 gRPC API: channel, reads, group-commit writer and retries."""
