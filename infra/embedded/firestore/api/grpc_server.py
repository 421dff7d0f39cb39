"""A gRPC server on the event loop that uses the private core of grpcio directly.

Private interface: this module imports `grpc._cython.cygrpc`, which grpcio does not document. The lock file pins
grpcio to a tested version. If an update removes a name that this module uses, the import fails. `firestore_server`
then uses `grpc_aio_server`, which needs only the public interface.

`grpc.aio` needs two tasks and about ten thread switches per call. In this module, one thread polls the completion
queue of the core and passes each completion to the event loop. The figures below are for Commits of one document,
as medians of alternating runs:

- 64 concurrent callers: 259 µs CPU time per Commit. `GrpcAioServer` needs 486 µs, so this server needs 47 % less.
- One caller: 932 µs CPU time per Commit. `GrpcAioServer` needs 1,205 µs, so this server needs 23 % less.

The tag of an operation is the function that is called after the operation has completed. For each call, the core
accepts one outgoing message at a time.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import grpc
from grpc._cython import cygrpc
from grpc._cython.cygrpc import (
    CompletionQueue,
    ReceiveCloseOnServerOperation,
    ReceiveMessageOperation,
    SendInitialMetadataOperation,
    SendMessageOperation,
    SendStatusFromServerOperation,
    Server,
)

from infra.embedded.firestore.api.rpc import NO_TOKEN, BearerToken, CallsEnded, RpcMethod

MAX_UNSENT_BYTES = 256 * 1024

logger = logging.getLogger(__name__)

_NO_METADATA, _NO_FLAGS, _BUFFER_HINT = (), 0, cygrpc.WriteFlag.buffer_hint
_CALL_ARRIVED, _SERVER_STOPPED = object(), object()

_ATTRIBUTES = {
    cygrpc.Call: "start_server_batch",
    cygrpc.BatchOperationEvent: "batch_operations tag",
    cygrpc.RequestCallEvent: "call call_details invocation_metadata success tag",
    CompletionQueue: "poll",
    ReceiveCloseOnServerOperation: "cancelled",
    ReceiveMessageOperation: "message",
    Server: "add_http2_port cancel_all_calls destroy register_completion_queue request_call shutdown start",
}
for _owner, _names in _ATTRIBUTES.items():
    for _name in _names.split():
        getattr(_owner, _name)  # raises AttributeError if grpcio has changed


class ServerCall:
    """One call: its unsent messages, its status and the task that runs its handler.

    Handlers run on the event loop. The loop and the polling thread both send messages, under a lock. A response of
    many messages therefore does not switch threads for each message.
    """

    def __init__(self, core: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.request_bytes = 0
        self._core, self._loop = core, loop
        self._lock = threading.Lock()
        self._unsent, self._unsent_bytes = deque[bytes](), 0
        self._status: tuple[grpc.StatusCode, str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None  # set while the handler waits in `write`
        self._has_sent_metadata = self._is_sending = self._is_scheduled = self._is_ended = False

    async def write(self, message: Any) -> None:
        """Send a message. If more than MAX_UNSENT_BYTES are unsent, wait until only half of this number is unsent."""
        self._append(message)
        if self._unsent_bytes > MAX_UNSENT_BYTES:
            drained = None
            with self._lock:
                if self._unsent:
                    self._drained = drained = self._loop.create_future()
            if drained is not None:
                await drained

    def _append(self, message: Any) -> None:
        serialized = message.SerializeToString()
        with self._lock:
            self._unsent.append(serialized)
            self._unsent_bytes += len(serialized)
            self._schedule_send()

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """End the call with a status, after all messages that were written."""
        with self._lock:
            self._status = code, details
            self._schedule_send()

    def _schedule_send(self) -> None:
        """Send in the next iteration of the loop, so that one batch has the message and the status of a unary call."""
        if not self._is_scheduled and not self._is_sending:
            self._is_scheduled = True
            self._loop.call_soon(self._send_scheduled)

    def _send_scheduled(self) -> None:
        with self._lock:
            self._is_scheduled = False
            self._send()

    def _send(self) -> None:
        if self._is_ended:
            return
        operations = []
        if not self._has_sent_metadata:
            self._has_sent_metadata = True
            operations.append(SendInitialMetadataOperation(_NO_METADATA, _NO_FLAGS))
        if self._unsent:
            message = self._unsent.popleft()
            self._unsent_bytes -= len(message)
            # Buffered messages share a write to the socket: 9 % less CPU time here for an export, and 12 % in the
            # API. The core does not complete a batch with metadata and a buffered message.
            flags = _BUFFER_HINT if self._unsent and not operations else _NO_FLAGS
            operations.append(SendMessageOperation(message, flags))
        if self._status is not None and not self._unsent:
            self._is_ended = True
            code, details = self._status
            operations.append(SendStatusFromServerOperation(_NO_METADATA, code.value[0], details.encode(), _NO_FLAGS))
        self._is_sending = True
        self._core.start_server_batch(operations, self._on_sent)

    def _on_sent(self, event: Any) -> None:
        drained = None
        with self._lock:
            self._is_sending = False
            if self._unsent or self._status is not None:
                self._send()
            if self._drained is not None and self._unsent_bytes <= MAX_UNSENT_BYTES // 2:
                drained, self._drained = self._drained, None
        if drained is not None:
            self._loop.call_soon_threadsafe(_resolve, drained, None)

    def receive(self, callback: Callable[[bytes | None], None]) -> None:
        """Receive one message. Call `callback` on the loop with the message, or with None at the end."""
        self._core.start_server_batch((ReceiveMessageOperation(_NO_FLAGS),), partial(self._on_received, callback))

    def _on_received(self, callback: Callable[[bytes | None], None], event: Any) -> None:
        self._loop.call_soon_threadsafe(callback, event.batch_operations[0].message())

    def watch_cancellation(self) -> None:
        """Cancel the handler when the client cancels the call or disconnects."""
        self._core.start_server_batch((ReceiveCloseOnServerOperation(_NO_FLAGS),), self._on_closed)

    def _on_closed(self, event: Any) -> None:
        if event.batch_operations[0].cancelled():
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        with self._lock:
            self._is_ended = True
        if self._task is not None:
            self._task.cancel()

    def start_handler(self, method: RpcMethod, raw_request: bytes | None) -> asyncio.Task[None] | None:
        """Start the handler and return its task, or None if the call has ended already."""
        if not self._is_ended:
            self._task = self._loop.create_task(self._run_handler(method, raw_request))
        return self._task

    async def _run_handler(self, method: RpcMethod, raw_request: bytes | None) -> None:
        if method.streams_requests:
            request = self._requests(method.request_class)
        else:
            try:
                self.request_bytes = len(raw_request or b"")
                request = method.request_class.FromString(raw_request)
            except Exception:  # noqa: BLE001 - no message arrived, or the bytes are not such a message
                self.end(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
                return
        try:
            response = await method.handler(request, self)
            if self._status is None:
                if response is not None:
                    self._append(response)
                self.end(grpc.StatusCode.OK, "")
        except BaseException:  # the client must get a status even if the handler is cancelled
            if self._status is None:
                self.end(grpc.StatusCode.UNKNOWN, "The call failed.")
            raise
        finally:
            self._task = None  # the error of the task refers to this call, and therefore to its request

    async def _requests(self, request_class: Any) -> AsyncIterator[Any]:
        while True:
            received: asyncio.Future[bytes | None] = self._loop.create_future()
            self.receive(partial(_resolve, received))
            raw = await received
            if raw is None:
                return
            yield request_class.FromString(raw)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


class GrpcServer:
    """Serves methods, by their full names, on one port."""

    def __init__(
        self, methods: Mapping[str, RpcMethod], options: Sequence[tuple[str, int]], token: BearerToken | None = None
    ) -> None:
        self._token = token
        self._methods = {name.encode(): method for name, method in methods.items()}
        self._queue = CompletionQueue()
        self._server = Server(tuple(options), False)
        self._server.register_completion_queue(self._queue)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="firestore-calls")

    def listen(self, address: str) -> int:
        """Bind `host:port` and return the port number."""
        return int(self._server.add_http2_port(address.encode()))

    async def start(self) -> None:
        """Start to accept calls."""
        self._server.start()
        self._server.request_call(self._queue, self._queue, _CALL_ARRIVED)
        self._thread.start()

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, wait up to `grace_seconds` for open calls, then cancel them."""
        self._server.shutdown(self._queue, _SERVER_STOPPED)
        stopped = self._loop.run_in_executor(None, self._thread.join)
        await asyncio.wait([stopped], timeout=grace_seconds)
        if not stopped.done():
            self._server.cancel_all_calls()
            await stopped
        if not self.failed.done():  # if the thread has failed, `destroy` would wait forever
            self._server.destroy()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _run(self) -> None:
        """Run `_poll` on its own thread. An error loses a completion, so a call would have no end."""
        try:
            self._poll()
        except BaseException as error:
            self._loop.call_soon_threadsafe(self.failed.set_exception, CallsEnded(error))
            raise  # the thread logs it

    def _poll(self) -> None:
        """Process the completions of the core until the server has stopped."""
        while True:
            event = self._queue.poll()
            if event.tag is _SERVER_STOPPED:
                return
            if event.tag is not _CALL_ARRIVED:
                event.tag(event)
            elif event.success:
                with contextlib.suppress(ValueError):  # the server is stopping and accepts no more calls
                    self._server.request_call(self._queue, self._queue, _CALL_ARRIVED)
                self._accept(event)
            del event  # release the last reference to the call before the next poll blocks

    def _accept(self, event: Any) -> None:
        call = ServerCall(event.call, self._loop)
        call.watch_cancellation()
        method = self._methods.get(event.call_details.method)
        if self._token is not None and not self._token.is_in(event.invocation_metadata):
            self._loop.call_soon_threadsafe(call.end, *NO_TOKEN)
        elif method is None:
            self._loop.call_soon_threadsafe(call.end, grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        elif method.streams_requests:
            self._loop.call_soon_threadsafe(self._start_handler, call, method, None)
        else:
            call.receive(partial(self._start_handler, call, method))

    def _start_handler(self, call: ServerCall, method: RpcMethod, raw_request: bytes | None) -> None:
        task = call.start_handler(method, raw_request)
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._on_handler_done)

    def _on_handler_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A call failed", exc_info=error)
