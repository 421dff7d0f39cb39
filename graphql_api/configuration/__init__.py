"""The settings and limits of the API, read from environment variables. docs/configuration.md lists them."""
