"""OAuth2: access tokens of identity providers, and the sign-in of a browser at an identity provider."""
