"""Who a client is: credentials of requests, and access tokens from the identity provider of a server."""
