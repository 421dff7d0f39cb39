"""The transport of requests to the server: GraphQL operations, HTTP connections and retries."""
