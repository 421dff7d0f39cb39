"""`/session`: the session of a browser in a cookie, and the identity of the caller.

- `POST /session` exchanges the token of a sign-in link, an API key or an access token for a session.
- `GET /session` says who the caller is, for any kind of credential.
- `DELETE /session` ends the session.
"""

import contextlib
from datetime import UTC, datetime
from typing import Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.caller import Caller
from graphql_api.auth.key_store import KeyStore
from graphql_api.auth.secret_text import digest
from graphql_api.auth.sessions import Session, SessionStore
from graphql_api.budgets.allowance import set_allowance
from graphql_api.budgets.budgets import Budgets
from graphql_api.endpoints.endpoint import Endpoint, public
from graphql_api.errors import UnsupportedMediaType
from graphql_api.graphql_server.disconnection import while_connected
from graphql_api.graphql_server.requests import request_headers
from graphql_api.graphql_server.requests.media_types import JSON, utf_8_type
from graphql_api.graphql_server.requests.request_body import read_body
from graphql_api.graphql_server.requests.request_headers import Credential, header, is_same_origin, session_cookie
from storage.documents import BadRequest, Forbidden, Unauthenticated

_MAX_BODY_BYTES = 4_096
_START_COST = 20
"""Cost units of starting a session. The sessions of a key are started one after the other, so further requests wait."""

_LINK = "sign-in link"
"""The kind of credential in the body. Its attempts do not wait for a slow identity provider."""

_HEADERS = {"cache-control": "no-store"}


class StartServices(Protocol):
    """The services that start a session."""

    budgets: Budgets
    sessions: SessionStore


class Services(StartServices, Protocol):
    """The services that these endpoints use. The application creates the services when it starts."""

    authenticator: Authenticator
    keys: KeyStore


class SessionEndpoints:
    """The endpoints of `/session`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints. Each checks the credential itself."""
        handlers = {"GET": self._get, "POST": self._post, "DELETE": self._delete}
        return [public(Route("/session", handler, methods=[method])) for method, handler in handlers.items()]

    async def _get(self, request: Request) -> Response:
        credential = request_headers.credential(request.scope)
        if credential.key is None:
            return _response(None)
        try:
            return _response(await self._authenticate(request, credential))
        except Unauthenticated:
            if not credential.is_cookie:
                raise
            return _without_cookie(request)  # the session has ended: the page asks for a key

    async def _post(self, request: Request) -> Response:
        if "origin" in request.headers and not is_same_origin(request.scope):
            raise Forbidden("a page of another origin cannot sign in")
        credential = request_headers.credential(request.scope)
        if credential.key is None or credential.is_cookie:
            secret, session = await self._exchange(request, credential.address)
        elif self._services.sessions.recognizes(credential.key):
            raise BadRequest("a session cannot start another session; send an API key, an access token or a link")
        elif credential.submitter is not None:
            raise BadRequest(
                "a session belongs to the submitter of its key; send the header x-submitter with later requests instead"
            )
        else:
            caller = await self._authenticate(request, credential)
            key_digest = digest(credential.key) if self._services.keys.recognizes(credential.key) else None
            secret, session = await start_session(request, self._services, caller, key_digest)
        response = _response(session, status=201)
        set_session(response, request, secret, session)
        return response

    async def _delete(self, request: Request) -> Response:
        credential = request_headers.credential(request.scope)
        if credential.is_cookie and credential.key is not None:
            with contextlib.suppress(Unauthenticated):  # the session has ended already, so nothing is written
                await self._services.authenticator.authenticate(credential)  # without limits, so that signing out works
                await self._services.sessions.end(credential.key)
                self._services.authenticator.forget(credential.key)
        return _without_cookie(request)

    async def _authenticate(self, request: Request, credential: Credential) -> Caller:
        """Return the caller, and count the request towards its limits."""
        caller = await self._services.authenticator.authenticate(credential)
        allowance = self._services.budgets.allowance(caller)
        set_allowance(request.scope, allowance)
        allowance.admit_request()
        return caller

    async def _exchange(self, request: Request, address: str) -> tuple[str, Session]:
        """Return a session for the token in the body. An address can try a few unknown tokens per second."""
        if utf_8_type(header(request, b"content-type")) != JSON:
            raise UnsupportedMediaType("expected the header Content-Type: application/json")
        body = await read_body(request, _MAX_BODY_BYTES)
        try:
            token = orjson.loads(body)["token"]
        except (orjson.JSONDecodeError, TypeError, KeyError):
            token = None
        if not isinstance(token, str):
            raise BadRequest('expected a body such as {"token": "..."}, or an API key in the header x-api-key')
        attempts = self._services.budgets.addresses.attempts(address, _LINK)
        async with attempts.hold():
            started = await self._services.sessions.exchange(token)
            if started is None:
                attempts.failed.take(1)
                raise Unauthenticated("this sign-in link was used or has expired; enter an API key, or get a new link")
        return started


async def start_session(
    request: Request, services: StartServices, caller: Caller, key_digest: str | None
) -> tuple[str, Session]:
    """Start a session within the budget of the submitter. Return its secret and the session.

    Raises `RateLimited` if too many sessions wait, and `ClientDisconnect`.
    """

    async def start() -> tuple[str, Session]:
        budget = services.budgets.charged(caller)
        cost, units = budget.cost(_START_COST)
        with budget.connections.hold():
            async with cost.hold(units):
                return await services.sessions.start(caller, key_digest)

    return await while_connected(request.receive, start())


def _response(caller: Caller | Session | None, status: int = 200) -> Response:
    body = {
        "submitter": None if caller is None else caller.submitter,
        "scopes": [] if caller is None else sorted(caller.scopes),
        "expires": None if caller is None else caller.expires,
    }
    return Response(orjson.dumps(body, option=orjson.OPT_UTC_Z), status, _HEADERS, "application/json")


def set_session(response: Response, request: Request, secret: str, session: Session) -> None:
    """Set the cookie of a session."""
    _set_cookie(response, request, secret, int((session.expires - datetime.now(UTC)).total_seconds()))


def _without_cookie(request: Request) -> Response:
    response = _response(None)
    _set_cookie(response, request, "", 0)
    return response


def _set_cookie(response: Response, request: Request, value: str, seconds: int) -> None:
    """Set the cookie: scripts cannot read it, and browsers send it only with requests of this site's own pages."""
    name = session_cookie(request.scope)
    is_secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=seconds, path="/", secure=is_secure, httponly=True, samesite="strict")
