"""A gRPC server on the public `grpc.aio` interface: the fallback if `grpc_server` cannot be imported.

Both servers serve the same methods with the same statuses. This server needs more CPU time per call.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from infra.embedded.firestore.transport.rpc import NO_TOKEN, BearerToken, RpcMethod

logger = logging.getLogger(__name__)


class AioCall:
    """One call. `write` sends a message immediately. The status is sent when the handler returns."""

    def __init__(self, context: Any, request_bytes: int) -> None:
        self._context = context
        self.request_bytes = request_bytes
        self.status: tuple[grpc.StatusCode, str] | None = None

    async def write(self, message: Any) -> None:
        """Send a message. Wait until the transport accepts it."""
        await self._context.write(message)

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """Set the status that ends the call when the handler returns."""
        self.status = code, details


class GrpcAioServer:
    """Serves methods, by their full names, on one port."""

    def __init__(
        self, methods: Mapping[str, RpcMethod], options: Sequence[tuple[str, int]], token: BearerToken | None = None
    ) -> None:
        self._token = token
        self._server = grpc.aio.server(options=tuple(options))
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # never done
        self._tasks: set[asyncio.Task[Any]] = set()
        handlers: dict[str, dict[str, Any]] = {}
        for full_name, method in methods.items():
            _, service, name = full_name.split("/")
            handlers.setdefault(service, {})[name] = self._grpc_handler(method)
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service, named) for service, named in handlers.items()]
        )

    def listen(self, address: str) -> int:
        """Bind `host:port` and return the port number."""
        return int(self._server.add_insecure_port(address))

    async def start(self) -> None:
        """Start to accept calls."""
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, wait up to `grace_seconds` for open calls, then cancel them."""
        await self._server.stop(grace_seconds)
        if self._tasks:  # grpc.aio does not wait until cancelled handlers have ended
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _grpc_handler(self, method: RpcMethod) -> Any:
        """Return a method handler of grpc.aio for a method."""

        async def respond_once(request: Any, context: Any) -> Any:
            if self._token is not None and not self._token.is_in(context.invocation_metadata() or ()):
                await context.abort(*NO_TOKEN)
            call = AioCall(context, 0 if method.streams_requests else request.ByteSize())
            response = await self._run_handler(method, request, call)
            if call.status is not None:
                await context.abort(*call.status)
            return response

        async def respond_with_stream(request: Any, context: Any) -> None:
            response = await respond_once(request, context)
            if response is not None:
                await context.write(response)

        serializers = {
            "request_deserializer": method.request_class.FromString,
            "response_serializer": lambda message: message.SerializeToString(),
        }
        if not method.streams_responses:
            return grpc.unary_unary_rpc_method_handler(respond_once, **serializers)
        if not method.streams_requests:
            return grpc.unary_stream_rpc_method_handler(respond_with_stream, **serializers)
        return grpc.stream_stream_rpc_method_handler(respond_with_stream, **serializers)

    async def _run_handler(self, method: RpcMethod, request: Any, call: AioCall) -> Any:
        """Run the handler of a method. If it fails, set the status UNKNOWN and return None."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await method.handler(request, call)
        except asyncio.CancelledError:
            if task.cancelling():  # the client or `stop` cancelled the call, and grpc.aio ends it
                raise
        except Exception:
            logger.exception("A call failed")
        if call.status is None:
            call.end(grpc.StatusCode.UNKNOWN, "The call failed.")
        return None
