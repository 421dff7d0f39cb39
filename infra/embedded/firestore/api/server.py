"""A port on which the service answers."""

import socket
from collections import Counter

from infra.embedded.firestore.api import handlers
from infra.embedded.firestore.api.grpc_server import Endpoint
from infra.embedded.firestore.api.service import Service
from infra.embedded.firestore.storage.storage import Storage

# Above production's 10 MiB for a request, so that the refusal is ours and names the limit.
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


class PortInUse(Exception):
    """Somebody else listens there."""


def _check_free(host: str, port: int, address: str) -> None:
    """Raise if nobody could listen there: gRPC would say so in words of its own."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            raise PortInUse(f"cannot listen on {address}: {problem.strerror}") from None


class Server:
    """A started gRPC server; stop it before the storage is closed."""

    def __init__(self, storage: Storage, host: str, port: int) -> None:
        self._service = Service(storage)
        self.calls: Counter[tuple[str, str]] = Counter()
        self._endpoint = Endpoint(handlers.methods(self._service, self.calls), OPTIONS)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        _check_free(host, port, address)
        self.port = self._endpoint.listen(address)

    @property
    def open_streams(self) -> int:
        """How many Listen streams are open."""
        return self._service.open_streams

    @property
    def open_transactions(self) -> int:
        """How many transactions are under way."""
        return self._service.open_transactions

    async def start(self) -> None:
        """Begin to answer."""
        self._endpoint.start()

    async def stop(self) -> None:
        """Let open streams go and running calls finish, but not for long."""
        self._service.end_streams()
        await self._endpoint.stop(GRACE_SECONDS)
        await self._service.close()
