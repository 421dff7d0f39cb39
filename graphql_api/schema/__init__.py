"""The GraphQL contract: root fields with the scopes they require, types, and the context of resolvers."""
