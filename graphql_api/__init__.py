"""What clients see: GraphQL and plain HTTP in front of Firestore."""
