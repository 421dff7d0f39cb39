"""The WebSocket endpoint: accepts or denies a WebSocket before its protocol starts."""

import contextlib

from starlette.types import Receive, Scope, Send

from graphql_api.errors import HTTP_STATUS
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.responses import from_error
from graphql_api.graphql_server.operation_context import Authenticate
from graphql_api.graphql_server.protocols.graphql_transport_ws import GraphQLWebSocket
from graphql_api.graphql_server.requests import request_headers
from storage.documents.errors import DropzoneError, Forbidden, RetryLater


class WebSocketEndpoint:
    """The ASGI application that serves one schema over WebSockets."""

    def __init__(self, executor: Executor, authenticate: Authenticate) -> None:
        self._executor = executor
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            if not self._is_allowed_origin(scope):
                raise Forbidden("this origin is not allowed to open a WebSocket; ask the operator to allow it")
            credential = request_headers.credential(scope)
            self._executor.check_memory()
        except DropzoneError as error:
            with contextlib.suppress(OSError):
                await _deny(send, error)
            return
        websocket = GraphQLWebSocket(self._executor, self._authenticate, credential, scope, receive, send)
        with contextlib.suppress(OSError):  # the client has disconnected
            await websocket.run()

    def _is_allowed_origin(self, scope: Scope) -> bool:
        """Return whether the Origin header is allowed.

        Browsers open WebSockets to other origins without a preflight request, so the server has to check the origin.
        """
        origin = request_headers.headers_by_name(scope).get(b"origin")
        if origin is None or origin.decode("latin-1").lower() in self._executor.settings.allowed_origins:
            return True
        return request_headers.is_same_origin(scope)


async def _deny(send: Send, error: DropzoneError) -> None:
    headers = [(b"content-type", b"application/json; charset=utf-8")]
    if isinstance(error, RetryLater):
        headers.append((b"retry-after", b"%d" % error.retry_after))
    await send({"type": "websocket.http.response.start", "status": HTTP_STATUS[error.code], "headers": headers})
    await send({"type": "websocket.http.response.body", "body": from_error(error).body, "more_body": False})
