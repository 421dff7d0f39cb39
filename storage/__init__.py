"""The stored documents, and the Firestore client. The API and the trigger functions share this package."""
