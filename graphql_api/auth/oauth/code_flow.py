"""Signing a browser in at the identity provider: the authorization code flow with PKCE (RFC 7636).

The server, not the page, exchanges the code for a token. The page therefore gets a session and never holds a token.
"""

import base64
import hashlib
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from graphql_api.auth.oauth.provider_metadata import ProviderError, ProviderMetadata, ProviderRefusal, fetch_json
from observability.throttled_log import ThrottledLog
from storage.documents import Unauthenticated, Unavailable

PAGES = ("/", "/graphql")

logger = logging.getLogger("graphql_api")
_log = ThrottledLog(logger)
"""Anyone can start a sign-in, and each can fail in the same way."""

_MAX_QUERY_CHARACTERS = 2_000
"""The maximum length of the query of a page. A cookie contains it, and browsers refuse cookies of more than 4 KiB."""

_ERRORS = frozenset(
    {
        "access_denied",
        "consent_required",
        "interaction_required",
        "invalid_request",
        "invalid_scope",
        "login_required",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_response_type",
    }
)
"""The error codes of a provider (RFC 6749 and OpenID Connect). Messages contain only these codes, because anyone can
send another text.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeFlow:
    """The sign-in at one provider. `resource` is the address of this API."""

    metadata: ProviderMetadata
    client_id: str
    resource: str
    audience: str
    scopes: str

    @property
    def redirect_uri(self) -> str:
        """The address to which the provider redirects the browser. The client at the provider must allow it."""
        return f"{self.resource}/session/callback"

    async def start(self, page: str) -> tuple[str, str]:
        """Return the address at the provider, and the value of a cookie for the time of the sign-in.

        After the sign-in, the browser gets `page` with its query, or the first of `PAGES` if it is another page.
        """
        state, verifier = secrets.token_urlsafe(), secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.scopes,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "resource": self.audience,
            "audience": self.audience,
        }
        endpoint = await self._endpoint("authorization_endpoint")
        separator = "&" if "?" in endpoint else "?"
        return endpoint + separator + urlencode(parameters), _encode([state, verifier, _known(page)])

    async def finish(self, query: Mapping[str, str], cookie: str) -> tuple[str, str]:
        """Return the access token and the page that started the sign-in. Raises `Unauthenticated`."""
        state, verifier, page = _decode(cookie)
        if not secrets.compare_digest(query.get("state", "").encode(), state.encode()):
            raise Unauthenticated("this browser did not start this sign-in; sign in again")
        if query.get("iss", self.metadata.issuer) != self.metadata.issuer:  # RFC 9207
            raise Unauthenticated("the response is from another identity provider; sign in again")
        if "code" not in query:
            error = query.get("error")
            cause = "no code" if error is None else error if error in _ERRORS else "an unknown error"
            raise Unauthenticated(f"the identity provider refused the sign-in: {cause}")
        form = {
            "grant_type": "authorization_code",
            "code": query["code"],
            "redirect_uri": self.redirect_uri,
            "client_id": self.client_id,
            "code_verifier": verifier,
            "resource": self.audience,
        }
        endpoint = await self._endpoint("token_endpoint")
        try:
            response = await fetch_json(endpoint, form)
        except ProviderError as error:
            _log.warning("cannot exchange the authorization code for a token: %s", error)
            cause = "refused the code" if isinstance(error, ProviderRefusal) else "did not exchange the code"
            raise Unauthenticated(f"the identity provider {cause}; sign in again") from None
        return str(response.get("access_token")), _known(page)

    async def _endpoint(self, name: str) -> str:
        try:
            return await self.metadata.endpoint(name)
        except ProviderError as error:
            _log.warning("users cannot sign in at the identity provider: %s", error)
            raise Unavailable("the identity provider cannot be used now; retry later", retry_after=30) from None


def _known(page: str) -> str:
    """Return the page with its query, which is the view that the user has opened. Another address is not returned."""
    path, _, query = page.partition("?")
    if path not in PAGES:
        return PAGES[0]
    return page if len(query) <= _MAX_QUERY_CHARACTERS and query.isascii() and query.isprintable() else path


def _encode(values: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _decode(cookie: str) -> tuple[str, str, str]:
    try:
        state, verifier, page = json.loads(base64.urlsafe_b64decode(cookie + "=="))
    except (ValueError, TypeError, RecursionError):
        state = verifier = page = ""
    if not all(isinstance(each, str) and each and each.isascii() for each in (state, verifier, page)):
        raise Unauthenticated("this browser did not start a sign-in, or the sign-in took too long; sign in again")
    return state, verifier, page
