"""Error responses of plain HTTP endpoints: a status and `{"error": {"message", "extensions": {"code"}}}`."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from graphql_api.client_text import shorten
from graphql_api.credential_errors import Challenges
from graphql_api.error_entries import describe, describe_unexpected
from graphql_api.errors import HTTP_STATUS, MethodNotAllowed, error_headers
from storage.documents import DropzoneError, NotFound, Unavailable


class ErrorResponder:
    """Responds to errors of requests."""

    def __init__(self, challenges: Challenges) -> None:
        self._challenges = challenges

    @property
    def handlers(self) -> Mapping[Any, Any]:
        """The exception handlers of the application, by exception class. `respond` also handles all other errors."""
        return {
            ClientDisconnect: _respond_with_nothing,
            DropzoneError: self.respond,
            HTTPException: self.respond,
            MemoryError: self.respond,
        }

    async def respond(self, request: Request, error: Exception) -> Response:
        """Return the response to an error. An unexpected error is logged."""
        path = shorten(request.url.path, 100)
        if isinstance(error, HTTPException):  # raised by the router
            error = _of_router(error, request, path)
        elif isinstance(error, MemoryError):
            error = Unavailable("the server has too little memory for this request; retry later")
        if isinstance(error, DropzoneError):
            return self.response(error)
        described = describe_unexpected(error, f"{request.method} {path}")
        return Response(orjson.dumps({"error": described}), 500, media_type="application/json")

    def response(self, error: DropzoneError) -> Response:
        """Return the response to an expected error."""
        status, headers = HTTP_STATUS.get(error.code, 400), error_headers(error, self._challenges)
        return Response(orjson.dumps({"error": describe(error)}), status, headers, "application/json")


def _of_router(error: HTTPException, request: Request, path: str) -> DropzoneError:
    if error.status_code == 405:
        of_router = set((error.headers or {}).get("Allow", "").split(", ")) - {""}
        allow = ", ".join(sorted(of_router | _methods(request)))
        return MethodNotAllowed(f"{path} does not support {request.method}; use {allow}", allow=allow)
    return NotFound(f"{path} does not exist")


def _methods(request: Request) -> set[str]:
    """Return the methods of all routes of a path. The router names only those of the first route."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    matching = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in matching for method in route.methods or ()}


class _NoResponse(Response):
    """Sends nothing, because the client has disconnected. The metrics would count any other response."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing."""


async def _respond_with_nothing(request: Request, error: Exception) -> Response:
    del request, error
    return _NoResponse()
