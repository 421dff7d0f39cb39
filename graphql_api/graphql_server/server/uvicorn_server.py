"""The uvicorn server in this process, with the connection classes and settings of this project."""

from collections.abc import Callable
from socket import socket

import uvicorn
from starlette.types import ASGIApp

from graphql_api.graphql_server.server.http_connection import http_connection_class
from graphql_api.graphql_server.server.websocket_connection import websocket_connection_class
from graphql_api.graphql_server.settings import ServerSettings


class Server(uvicorn.Server):
    """A uvicorn server that calls `on_shutdown` before it waits for open responses.

    uvicorn notifies the application of a shutdown only after all responses have ended. A stream without an end would
    therefore delay the shutdown.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        settings: ServerSettings = ServerSettings(),  # noqa: B008 (frozen)
        on_shutdown: Callable[[], None] | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="uvloop",
            http=http_connection_class(settings),
            ws=websocket_connection_class(settings),
            ws_max_size=settings.max_message_bytes,
            ws_ping_interval=settings.ping_interval_seconds,
            ws_ping_timeout=settings.ping_interval_seconds,
            # Compression needs memory per WebSocket, and a small compressed message can decompress to a large message.
            ws_per_message_deflate=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=settings.shutdown_seconds,
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="error",  # at lower levels uvicorn logs every WebSocket and every invalid request
        )
        super().__init__(config)
        self._on_shutdown = on_shutdown

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Call `on_shutdown`, then shut down the server."""
        if self._on_shutdown is not None:
            self._on_shutdown()
        await super().shutdown(sockets)
