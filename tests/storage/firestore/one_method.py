"""A gRPC server in place of Firestore with one method, which a test defines."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio

from storage.firestore.client import Firestore

DATABASE = "projects/p/databases/(default)"


@asynccontextmanager
async def listen(name: str, method: "grpc.RpcMethodHandler[object, object]") -> AsyncIterator[str]:
    """Serve the method `name` on the loopback, with messages of any size. Yield the address."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    handler = grpc.method_handlers_generic_handler("google.firestore.v1.Firestore", {name: method})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@asynccontextmanager
async def serve(
    name: str, method: "grpc.RpcMethodHandler[object, object]", *, timeout_seconds: float = 30
) -> AsyncIterator[Firestore]:
    """Serve the method `name`. Yield a client."""
    async with listen(name, method) as address:
        channel = grpc.aio.insecure_channel(address, options=[("grpc.max_send_message_length", -1)])
        firestore = Firestore(channel, DATABASE, timeout_seconds=timeout_seconds)
        try:
            yield firestore
        finally:
            await firestore.close()
