"""uvicorn in this process, configured for us and told to say goodbye.

A trap: uvicorn waits for open responses before it tells the application, through its lifespan, that the
server stops; an endless stream would make it wait for ever. `on_shutdown` comes before.
"""

from collections.abc import Awaitable, Callable
from socket import socket

import uvicorn
from starlette.types import ASGIApp

from graphql_api.graphql_server.server.http_connection import ServerSettings, limited_http
from graphql_api.graphql_server.server.websocket_connection import limited_websocket


class Server(uvicorn.Server):
    """A uvicorn server that tells the application before it waits for it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        settings: ServerSettings = ServerSettings(),  # noqa: B008 (frozen)
        on_shutdown: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="uvloop",
            http=limited_http(settings),
            ws=limited_websocket(settings),
            ws_max_size=settings.max_message_bytes,
            ws_ping_interval=settings.ping_seconds,
            ws_ping_timeout=settings.ping_seconds,
            # Compression would keep a window per socket, and let a small message become a large one.
            ws_per_message_deflate=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=settings.shutdown_seconds,
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="error",  # below that, every WebSocket and all nonsense are worth lines to it
        )
        super().__init__(config)
        self._on_shutdown = on_shutdown

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Tell the application that open streams should end, then shut down."""
        if self._on_shutdown is not None:
            await self._on_shutdown()
        await super().shutdown(sockets)
