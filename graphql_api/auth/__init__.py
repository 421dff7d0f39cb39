"""Authentication and authorization: API keys, scopes, and the command that manages keys."""
