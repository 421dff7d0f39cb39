"""Garbage collection, and the release of free memory, for the API, the function and the embedded Firestore."""
