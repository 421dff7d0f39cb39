"""The identity of a client: credentials of requests, and access tokens from the identity provider of a server."""
