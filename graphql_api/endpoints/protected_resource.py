"""`GET /.well-known/oauth-protected-resource`: where clients get an access token for this API (RFC 9728)."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from graphql_api.configuration.identity_providers import parse_issuers, parse_scopes
from graphql_api.configuration.settings import Settings
from graphql_api.credential_errors import FOR_KEYS, Challenges
from graphql_api.endpoints.endpoint import Endpoint, public
from storage.documents import NotFound

PATH = "/.well-known/oauth-protected-resource"


def challenges(settings: Settings) -> Challenges:
    """Return the challenges in `WWW-Authenticate`, with the scopes that clients can request, as in the metadata."""
    if not settings.oidc_issuers:
        return FOR_KEYS
    return Challenges(scope_names=parse_scopes(settings.oidc_scopes), metadata_url=settings.public_address + PATH)


def protected_resource_endpoint(settings: Settings) -> Endpoint:
    """Return the endpoint. It responds with 404 if the API accepts no access tokens."""
    metadata: dict[str, object] = {
        "resource": settings.public_address,
        "authorization_servers": [issuer.url for issuer in parse_issuers(settings.oidc_issuers)],
        "scopes_supported": sorted(set(parse_scopes(settings.oidc_scopes).values())),
        "bearer_methods_supported": ["header"],
        "resource_name": "Dropzone",
    }
    if settings.oidc_client_id:
        metadata["dropzone_client_id"] = settings.oidc_client_id  # with which `dropzone login` signs in

    async def respond(request: Request) -> Response:
        del request
        if not settings.oidc_issuers:
            raise NotFound("this server accepts no access tokens; send an API key")
        return JSONResponse(metadata, headers={"cache-control": "max-age=3600"})

    return public(Route(PATH, respond, methods=["GET"]))
