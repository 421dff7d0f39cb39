"""RPC methods and their handlers, independent of the gRPC server that calls them.

`GrpcServer` and `GrpcAioServer` serve the same table of methods.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import grpc


class Call(Protocol):
    """One RPC, to which a handler sends its responses."""

    @property
    def request_bytes(self) -> int:
        """The size of the request message. 0 if the client streams requests."""

    async def write(self, message: Any) -> None:
        """Send one response message. Wait if too many bytes are unsent."""

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """End the RPC with a status after all written messages are sent."""


Handler = Callable[[Any, Call], Awaitable[Any]]
"""Takes a request, or an iterator of requests, and the call. Returns the last response message, or None."""


@dataclass(frozen=True, slots=True)
class RpcMethod:
    """One RPC method: its handler, request class and kind of streaming."""

    handler: Handler
    request_class: Any  # a protobuf message class
    streams_requests: bool = False
    streams_responses: bool = False


@dataclass(frozen=True, slots=True)
class BearerToken:
    """The token that every call must have in its metadata, as `authorization: Bearer TOKEN`."""

    token: str

    def is_in(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        """Return whether the metadata of a call has the token."""
        expected = f"Bearer {self.token}".encode()
        values = (value if isinstance(value, bytes) else value.encode() for key, value in metadata if key == _HEADER)
        return any(hmac.compare_digest(value, expected) for value in values)


_HEADER = "authorization"

NO_TOKEN = (
    grpc.StatusCode.UNAUTHENTICATED,
    ("this Firestore requires a bearer token: set DROPZONE_FIRESTORE_TOKEN to the token with which it was started"),
)
"""The status of a call without the token."""


class CallsEnded(Exception):
    """The server cannot receive calls any more. The process must exit, so that its supervisor restarts it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"the server cannot receive calls any more: {error!r}")


class RpcServer(Protocol):
    """A gRPC server on one port."""

    @property
    def failed(self) -> asyncio.Future[None]:
        """A future that raises `CallsEnded` when the server cannot receive calls any more."""

    def listen(self, address: str) -> int:
        """Bind `host:port` and return the port number."""

    async def start(self) -> None:
        """Start to accept calls."""

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, wait up to `grace_seconds` for open calls, then cancel them."""
