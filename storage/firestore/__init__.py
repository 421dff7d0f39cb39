"""One Firestore client on the v1 gRPC API: channel, reads, group-commit writer, retries."""
