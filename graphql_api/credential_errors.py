"""Errors about the credential of a request, and what `WWW-Authenticate` says about them.

This module does not import graphql-core, so the keys command and the process `key` of the stack start faster.
"""

from storage.documents.errors import DropzoneError, Forbidden, Unauthenticated


class InvalidCredential(Unauthenticated):
    """The request has a credential, but it is unknown, expired or revoked."""


class MissingScope(Forbidden):
    """The credential is valid but lacks `scope`."""

    def __init__(self, message: str, *, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


def challenge(error: DropzoneError) -> str | None:
    """Return the value of `WWW-Authenticate` (RFC 6750) for an error that another credential could prevent."""
    if isinstance(error, InvalidCredential):
        return 'Bearer realm="dropzone", error="invalid_token"'
    if isinstance(error, Unauthenticated):
        return 'Bearer realm="dropzone"'
    if isinstance(error, MissingScope):
        return f'Bearer realm="dropzone", error="insufficient_scope", scope="{error.scope}"'
    return None
