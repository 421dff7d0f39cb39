"""How requests reach the server: GraphQL operations, HTTP connections and retries."""
