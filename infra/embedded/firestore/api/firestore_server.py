"""The Firestore service on a gRPC port."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.embedded.firestore.api import handlers
from infra.embedded.firestore.api.service import Service
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.transport.grpc_aio_server import GrpcAioServer
from infra.embedded.firestore.transport.rpc import BearerToken, RpcMethod, RpcServer

# More than production's limit of 10 MiB per request, so that the service can return production's error message.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
GRACE_SECONDS = 0.5

OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 100_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

logger = logging.getLogger(__name__)


class PortInUse(Exception):
    """Another process listens on the port, or the address is not available."""


class FirestoreServer:
    """A gRPC server for one storage. Stop the server before you close the storage."""

    def __init__(
        self,
        storage: Storage,
        host: str,
        port: int,
        unix_socket: Path | None = None,
        token: BearerToken | None = None,
    ) -> None:
        """Bind the port, or only `unix_socket` if a `TcpRelay` accepts the connections to the port.

        If `token` is set, calls without this token are refused.
        """
        self._service = Service(storage)
        self.call_counts: Counter[tuple[str, str]] = Counter()
        self._rpc_server = _rpc_server(handlers.rpc_methods(self._service, self.call_counts), OPTIONS, token)
        if unix_socket is not None:
            self._rpc_server.listen(f"unix:{unix_socket}")
            self.port = port
            return
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        _check_address(host, port, address)
        self.port = self._rpc_server.listen(address)

    @property
    def open_streams(self) -> int:
        """The number of open Listen streams."""
        return self._service.open_streams

    @property
    def open_transactions(self) -> int:
        """The number of active transactions."""
        return self._service.open_transactions

    @property
    def failed(self) -> asyncio.Future[None]:
        """A future that raises `CallsEnded` when the server cannot receive calls any more."""
        return self._rpc_server.failed

    async def start(self) -> None:
        """Start to accept calls."""
        await self._rpc_server.start()

    async def stop(self) -> None:
        """End open streams with UNAVAILABLE, wait GRACE_SECONDS for other calls, then cancel them."""
        self._service.end_streams()
        await self._rpc_server.stop(GRACE_SECONDS)
        await self._service.close()


def _rpc_server(
    methods: Mapping[str, RpcMethod], options: Sequence[tuple[str, int]], token: BearerToken | None
) -> RpcServer:
    """Return a `GrpcServer`, or a slower `GrpcAioServer` if grpcio lacks the private interface of `GrpcServer`."""
    try:
        from infra.embedded.firestore.transport.grpc_server import GrpcServer
    except (ImportError, AttributeError) as error:
        logger.warning("grpcio lacks a private interface (%s); using grpc.aio instead, which is slower", error)
        return GrpcAioServer(methods, options, token)
    return GrpcServer(methods, options, token)


def _check_address(host: str, port: int, address: str) -> None:
    """Raise PortInUse with the reason if the address cannot be bound. gRPC does not report a reason."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            raise PortInUse(f"cannot listen on {address}: {problem.strerror}") from None
