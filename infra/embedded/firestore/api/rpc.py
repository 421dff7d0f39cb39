"""RPC methods and their handlers, independent of the gRPC server that calls them.

`GrpcServer` and `GrpcAioServer` serve the same table of methods.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import grpc


class Call(Protocol):
    """The response side of one RPC, as a handler uses it."""

    async def write(self, message: Any) -> None:
        """Send one response message. Wait only while too much is unsent."""

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """End the RPC with a status, after all messages that were written."""


Handler = Callable[[Any, Call], Awaitable[Any]]
"""Called with a request, or with an iterator of requests. Writes messages, and returns the last one or None."""


@dataclass(frozen=True, slots=True)
class RpcMethod:
    """One RPC method: its handler and the shape of its messages."""

    handler: Handler
    request_class: Any  # a protobuf message class
    streams_requests: bool = False
    streams_responses: bool = False


class RpcServer(Protocol):
    """A gRPC server on one port."""

    def listen(self, address: str) -> int:
        """Bind `host:port` and return the port number."""

    async def start(self) -> None:
        """Start to accept calls."""

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, wait up to `grace_seconds` for open ones, then cancel them."""
