"""The uvicorn server in this process, with the connection classes and settings of this project."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from socket import socket

import uvicorn
from starlette.types import ASGIApp

from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.certificate import Certificate
from graphql_api.graphql_server.server.acceptor import Acceptor
from graphql_api.graphql_server.server.http_connection import HTTPConnection
from graphql_api.graphql_server.server.open_connections import OpenConnections
from graphql_api.graphql_server.server.sequential_requests import http_connection_class
from graphql_api.graphql_server.server.unparsed_data import UnparsedTotal
from graphql_api.graphql_server.server.waiting_connections import ClientOf
from graphql_api.graphql_server.server.websocket.paced_frames import websocket_connection_class
from graphql_api.graphql_server.settings import ServerSettings

_POLL_SECONDS = 0.02

_BACKLOG = 4096
"""Connections that wait to be accepted. The kernel lets further clients retry after a second."""

logger = logging.getLogger("graphql_api")


class Server(uvicorn.Server):
    """A uvicorn server that ends all responses within `shutdown_seconds` after a signal, with a status if possible.

    uvicorn notifies the application of a shutdown only after all responses have ended. An endless stream would
    therefore delay the shutdown. uvicorn also responds with 500 to the requests that it ends.
    """

    def __init__(
        self,
        app: ASGIApp,
        budgets: Budgets,
        *,
        settings: ServerSettings = ServerSettings(),  # noqa: B008 (frozen)
        on_shutdown: Callable[[], None] | None = None,
        client_of: ClientOf = lambda _: "",
        trusted_proxies: Sequence[str] = (),
        certificate: Certificate | None = None,
    ) -> None:
        """Create a server. New connections of the clients that `client_of` knows take turns to be opened.

        Without a `certificate`, the server uses plain HTTP.
        """
        unparsed_total = UnparsedTotal()
        config = uvicorn.Config(
            app,
            port=0,  # without sockets, the server listens on a free port of this machine
            loop="uvloop",
            http=http_connection_class(settings, OpenConnections(budgets), unparsed_total),
            ws=websocket_connection_class(settings, unparsed_total),
            ws_max_size=settings.max_message_bytes,
            ws_ping_interval=settings.ping_interval_seconds,
            ws_ping_timeout=settings.ping_interval_seconds,
            # Compression needs memory per WebSocket, and a small compressed message can decompress to a large message.
            ws_per_message_deflate=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            proxy_headers=bool(trusted_proxies),  # without trusted proxies, forwarded headers are ignored
            forwarded_allow_ips=list(trusted_proxies),
            ssl_context_factory=None if certificate is None else lambda *_: certificate.context,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="error",  # at lower levels uvicorn logs every WebSocket and every invalid request
        )
        super().__init__(config)
        self._settings = settings
        self._on_shutdown = on_shutdown
        self._client_of = client_of
        self._certificate = certificate
        self._watch: asyncio.Task[None] | None = None
        self._acceptors: list[Acceptor] = []
        self.port: int | None = None
        """The port of the first listening socket, as soon as the server accepts connections."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start the application, then accept connections on `sockets`, or else on the configured address."""
        listening = sockets or [self.config.bind_socket()]
        await super().startup([])
        self._acceptors = [
            Acceptor(
                each,
                self._new_connection,
                backlog=_BACKLOG,
                max_waiting=self._settings.max_waiting_connections,
                client_of=self._client_of,
                certificate=self._certificate,
            )
            for each in listening
        ]
        if self._certificate is not None:
            self._watch = asyncio.create_task(self._certificate.watch())
        self.port = listening[0].getsockname()[1]

    def _new_connection(self) -> asyncio.Protocol:
        connection: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return connection

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Call `on_shutdown`. Then complete the requests in progress. Requests that take too long get 503."""
        if self._on_shutdown is not None:
            self._on_shutdown()
        if self._watch is not None:
            self._watch.cancel()
        for acceptor in self._acceptors:
            acceptor.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if not await self._wait_for_responses(self._settings.shutdown_seconds):
            await self._end_requests()
        for connection in list(self.server_state.connections):
            connection.transport.abort()  # the loop cannot be closed while a connection is open
        if not self.force_exit:
            try:
                async with asyncio.timeout(self._settings.close_seconds):
                    await self.lifespan.shutdown()
            except TimeoutError:
                logger.warning(
                    "the application did not close its connections within %g s", self._settings.close_seconds
                )

    async def _end_requests(self) -> None:
        tasks = self.server_state.tasks
        logger.warning("ended %d requests that were in progress, because the server stops", len(tasks))
        uvicorn_logger = logging.getLogger("uvicorn.error")
        level = uvicorn_logger.level
        uvicorn_logger.setLevel(logging.CRITICAL)  # uvicorn would log each request that ends in this way
        for connection in list(self.server_state.connections):
            if isinstance(connection, HTTPConnection):
                connection.end_unfinished()
        if not await self._wait_for_responses(self._settings.cleanup_seconds):
            for task in list(tasks):
                task.cancel()
            for connection in list(self.server_state.connections):
                connection.transport.close()
            await self._wait_for_responses(self._settings.cleanup_seconds)
        uvicorn_logger.setLevel(level)

    async def _wait_for_responses(self, seconds: float) -> bool:
        """Wait until all responses are sent. Return False after `seconds`, or if a second signal forces the exit."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (self.server_state.tasks or self.server_state.connections) and not self.force_exit:
            if loop.time() > deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True
