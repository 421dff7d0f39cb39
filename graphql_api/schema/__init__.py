"""The GraphQL contract: query, mutation, subscription, types, inputs, connections, scalars, required scopes."""
