"""`/session/sign-in` and `/session/callback`: a browser signs in at the identity provider and gets a session."""

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.authenticator import Authenticator
from graphql_api.client_text import shorten
from graphql_api.credential_errors import InvalidCredential
from graphql_api.endpoints.endpoint import Endpoint, public
from graphql_api.endpoints.query_parameters import query_parameters
from graphql_api.endpoints.sessions import StartServices, set_session, start_session
from graphql_api.graphql_server.disconnection import while_connected
from graphql_api.graphql_server.requests.request_headers import Credential, cookie, session_cookie
from storage.documents import NotFound, Unauthenticated

if TYPE_CHECKING:  # the application imports it only if an identity provider is configured
    from graphql_api.auth.oauth.code_flow import CodeFlow

SIGN_IN = "sign-in"
"""The kind of credential of an attempt to sign in at the identity provider."""

_SECONDS = 600

logger = logging.getLogger("graphql_api")


class Services(StartServices, Protocol):
    """The services that these endpoints use. The application creates the services when it starts."""

    audit_log: AuditLog
    authenticator: Authenticator
    code_flow: "CodeFlow | None"


class ProviderSignInEndpoints:
    """The endpoints of a sign-in at the identity provider. They respond with 404 if no provider is configured."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def endpoints(self) -> list[Endpoint]:
        """Return both endpoints."""
        handlers = {"/session/sign-in": self._start, "/session/callback": self._finish}
        return [public(Route(path, handler, methods=["GET"])) for path, handler in handlers.items()]

    async def _start(self, request: Request) -> Response:
        starting = self._flow().start(query_parameters(request).get("page", ""))
        address, value = await while_connected(request.receive, starting)
        response = RedirectResponse(address, 303, {"cache-control": "no-store"})
        _set_cookie(response, request, value, _SECONDS)
        return response

    async def _finish(self, request: Request) -> Response:
        """Start a session. If the sign-in failed, the page says so and the log says why."""
        flow = self._flow()
        address = request.client.host if request.client else ""
        attempts = self._services.budgets.addresses.attempts(address, SIGN_IN)

        async def finish() -> tuple[str, str]:
            async with attempts.hold():
                try:
                    return await flow.finish(query_parameters(request), cookie(request.scope, _name(request)))
                except asyncio.CancelledError:  # its client has disconnected, and could start any number of requests
                    attempts.failed.take(1)
                    raise

        try:
            token, page = await while_connected(request.receive, finish())
            caller = await self._services.authenticator.authenticate(Credential(token, address))
        except Unauthenticated as error:
            attempts.failed.take(1)
            self._note_refusal(error)
            response = RedirectResponse("/#sign-in-failed", 303, {"cache-control": "no-store"})
        else:
            response = RedirectResponse(page, 303, {"cache-control": "no-store"})
            secret, session = await start_session(request, self._services, caller, None)
            set_session(response, request, secret, session)
        _set_cookie(response, request, "", 0)
        return response

    def _note_refusal(self, error: Unauthenticated) -> None:
        """Log that a sign-in was refused. Add it to the audit log of the operator, at most once per cause and day."""
        is_token = isinstance(error, InvalidCredential)  # then the entry `token.refused` says why
        cause = "the API does not accept the token of the identity provider" if is_token else str(error)
        logger.info("a sign-in at the identity provider failed: %s", shorten(cause))
        facts = AuditFacts(reason=cause)
        self._services.audit_log.add_once_per_day(None, cause, actor="unknown", action="sign_in.refused", facts=facts)

    def _flow(self) -> "CodeFlow":
        if self._services.code_flow is None:
            raise NotFound("no identity provider is configured for signing in; enter an API key")
        return self._services.code_flow


def _name(request: Request) -> str:
    return f"{session_cookie(request.scope)}_sign_in"


def _set_cookie(response: Response, request: Request, value: str, seconds: int) -> None:
    """Set the cookie of a sign-in in progress. With `lax`, browsers send it with the redirect from the provider."""
    is_secure = request.url.scheme == "https"
    response.set_cookie(
        _name(request), value, max_age=seconds, path="/", secure=is_secure, httponly=True, samesite="lax"
    )
