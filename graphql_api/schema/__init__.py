"""The GraphQL schema: root fields with the scopes that they require, types, and the context of resolvers."""
