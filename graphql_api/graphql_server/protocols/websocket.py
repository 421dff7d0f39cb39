"""WebSockets are taken or denied: what is decided before a word of the protocol is said."""

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from graphql_api.graphql_server import credentials
from graphql_api.graphql_server.credentials import Authenticate
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.responses import refused
from graphql_api.graphql_server.protocols.graphql_transport_ws import SUBPROTOCOL, Socket
from graphql_api.graphql_server.server.http_connection import LAST_WORDS
from graphql_api.graphql_server.settings import TransportSettings
from storage.documents.errors import DropzoneError, Forbidden, Unavailable


class WebSocketEndpoint:
    """Accepts WebSockets for one schema."""

    def __init__(self, executor: Executor, context: Authenticate, settings: TransportSettings) -> None:
        self._executor = executor
        self._context = context
        self._settings = settings
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        headers = dict(scope["headers"])
        if not self._is_allowed(headers):
            await _deny(send, 403, Forbidden("WebSockets from pages of other origins are not taken."))
        elif self._open >= self._settings.max_sockets:
            await _deny(send, 503, Unavailable("There are too many open WebSockets.", retry_after=5))
        else:
            self._open += 1
            try:
                credential = credentials.from_headers(scope["headers"])
                socket = Socket(self._executor, self._context, self._settings, credential, receive, send)
                scope["state"][LAST_WORDS] = socket.last_words
                await socket.run(SUBPROTOCOL in scope["subprotocols"])
            finally:
                self._open -= 1

    def _is_allowed(self, headers: Mapping[bytes, bytes]) -> bool:
        """Browsers open WebSockets across origins without asking, but they say where they come from."""
        origin = headers.get(b"origin")
        if origin is None or origin.decode("latin-1").lower() in self._settings.allowed_origins:
            return True
        _, _, host = origin.partition(b"://")
        return bool(host) and host.lower() == headers.get(b"host", b"").lower()


async def _deny(send: Send, status: int, error: DropzoneError) -> None:
    body = refused(error).body
    headers = [(b"content-type", b"application/json; charset=utf-8")]
    if isinstance(error, Unavailable):
        headers.append((b"retry-after", str(error.retry_after).encode()))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
