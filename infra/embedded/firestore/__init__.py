"""A durable Firestore in one SQLite file, with the google.firestore.v1 API."""
