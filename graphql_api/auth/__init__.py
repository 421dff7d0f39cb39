"""Who calls and what they may do: API keys, scopes, and the command that manages keys."""
