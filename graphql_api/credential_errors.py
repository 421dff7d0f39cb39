"""Errors about the credential of a request, and the header `WWW-Authenticate` for them."""

from collections.abc import Mapping
from dataclasses import dataclass

from storage.documents.errors import DropzoneError, Forbidden, Unauthenticated


class NoCredential(Unauthenticated):
    """The request needs a credential and has none."""

    scope: str | None = None
    """The scope that the request needs, if it is known."""


class InvalidCredential(NoCredential):
    """The request has a credential, but it is unknown, expired or revoked."""


class MissingScope(Forbidden):
    """The credential is valid but lacks `scope`."""

    def __init__(self, message: str, *, scope: str) -> None:
        super().__init__(message)
        self.scope = scope


@dataclass(frozen=True, kw_only=True, slots=True)
class Challenges:
    """The header `WWW-Authenticate` of responses to requests that need another credential (RFC 6750)."""

    scope_names: Mapping[str, str] | None = None
    """The identity provider's name of each scope. A scope that is not listed cannot be requested, so it is left out.

    None means that each scope has its own name.
    """
    metadata_url: str | None = None
    """The address of the OAuth2 metadata (RFC 9728), or None if the API accepts no access tokens."""

    def of(self, error: DropzoneError) -> str | None:
        """Return the value of the header, or None for an error that no other credential prevents."""
        parameters = {"realm": "dropzone"}
        if isinstance(error, InvalidCredential):
            parameters["error"] = "invalid_token"
        elif isinstance(error, MissingScope):
            parameters["error"] = "insufficient_scope"
        elif not isinstance(error, Unauthenticated):
            return None
        scope = error.scope if isinstance(error, MissingScope | NoCredential) else None
        if scope is not None and self.scope_names is not None:
            scope = self.scope_names.get(scope)
        if scope is not None:
            parameters["scope"] = scope
        if self.metadata_url is not None:
            parameters["resource_metadata"] = self.metadata_url
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())


FOR_KEYS = Challenges()
"""The challenges of an API that accepts API keys only."""
