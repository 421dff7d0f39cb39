"""The google.firestore.v1 service over gRPC, and the admin endpoints over HTTP."""
