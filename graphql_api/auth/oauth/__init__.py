"""OAuth2: access tokens of identity providers, and signing a browser in with one."""
