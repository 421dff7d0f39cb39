"""What is stored, and the one way to Firestore. The API and the functions share it."""
