"""The API server: GraphQL and plain HTTP endpoints that store and read data in Firestore."""
