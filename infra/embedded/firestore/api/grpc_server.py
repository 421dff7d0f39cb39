"""gRPC on an event loop, straight from the core of grpcio.

`grpc.aio` spends two tasks and about ten changes of thread on a call, which is more than a small commit costs.
Here one thread waits for what the core completes and hands it to the loop, which does the rest. What a
handler writes goes out when it next waits: an answer of one message is one operation of the core, and a
handler with many messages waits for its client only if that falls far behind.

The trap: `cygrpc`, of which grpcio makes its synchronous server too, is documented nowhere, so nothing else here
knows it. The core calls nobody back: an operation comes out of the queue with the tag it was started with, which
here is the function to call. And it takes one message of a call at a time.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from grpc._cython import cygrpc

MAX_UNSENT_BYTES = 256 * 1024

logger = logging.getLogger(__name__)

_NO_FLAGS = 0
_NO_METADATA = ()
_ARRIVED, _STOPPED = object(), object()


@dataclass(frozen=True, slots=True)
class Method:
    """What answers an RPC: `run(request, call)` writes to the call and returns its last message, or None."""

    run: Callable[[Any, "Call"], Awaitable[Any]]
    request: Any  # the class of its message
    is_streamed: bool = False  # whether `run` gets an iterator of requests


class Call:
    """One call: what its handler says, told to the core in its order.

    Handlers run on the loop. What is sent next is decided under a lock, on the loop or on the thread that takes
    what the core completes: an answer of many messages does not go back and forth between the two.
    """

    def __init__(self, core: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._core = core
        self._loop = loop
        self._lock = threading.Lock()
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._status: tuple[grpc.StatusCode, str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None  # set while the handler waits
        self._is_begun = self._is_sending = self._is_due = self._is_over = False

    async def write(self, message: Any) -> None:
        """Send a message; this waits only if much is unsent."""
        self._say(message)
        if self._unsent_bytes > MAX_UNSENT_BYTES:
            room = None
            with self._lock:
                if self._unsent:
                    self._room = room = self._loop.create_future()
            if room is not None:
                await room

    def _say(self, message: Any) -> None:
        serialized = message.SerializeToString()
        with self._lock:
            self._unsent.append(serialized)
            self._unsent_bytes += len(serialized)
            self._send_soon()

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """End the call when everything is sent that was written."""
        with self._lock:
            self._status = code, details
            self._send_soon()

    def _send_soon(self) -> None:
        if not self._is_due and not self._is_sending:
            self._is_due = True
            self._loop.call_soon(self._begin_sending)

    def _begin_sending(self) -> None:
        with self._lock:
            self._is_due = False
            self._send()

    def _send(self) -> None:
        if self._is_over:
            return
        operations = []
        if not self._is_begun:
            self._is_begun = True
            operations.append(cygrpc.SendInitialMetadataOperation(_NO_METADATA, _NO_FLAGS))
        if self._unsent:
            message = self._unsent.popleft()
            self._unsent_bytes -= len(message)
            operations.append(cygrpc.SendMessageOperation(message, _NO_FLAGS))
        if self._status is not None and not self._unsent:
            self._is_over = True
            code, details = self._status
            operations.append(
                cygrpc.SendStatusFromServerOperation(_NO_METADATA, code.value[0], details.encode(), _NO_FLAGS)
            )
        self._is_sending = True
        self._core.start_server_batch(operations, self._sent)

    def _sent(self, event: Any) -> None:
        room = None
        with self._lock:
            self._is_sending = False
            if self._unsent or self._status is not None:
                self._send()
            if self._room is not None and self._unsent_bytes <= MAX_UNSENT_BYTES // 2:
                room, self._room = self._room, None
        if room is not None:
            self._loop.call_soon_threadsafe(_let_go, room)

    def receive(self, received: Callable[[Any], None]) -> None:
        """Ask for a message; `received` gets its bytes, or None at the end, on the loop."""
        self._core.start_server_batch((cygrpc.ReceiveMessageOperation(_NO_FLAGS),), partial(self._hand_over, received))

    def _hand_over(self, received: Callable[[Any], None], event: Any) -> None:
        self._loop.call_soon_threadsafe(received, event.batch_operations[0].message())

    def watch(self) -> None:
        """Take note if the client gives up."""
        self._core.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), self._left)

    def _left(self, event: Any) -> None:
        if event.batch_operations[0].cancelled():
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        with self._lock:
            self._is_over = True
        if self._task is not None:
            self._task.cancel()

    def begin(self, method: Method, raw: bytes | None) -> asyncio.Task[None] | None:
        """Start to answer; `raw` is the request, unless requests are streamed."""
        if not self._is_over:
            self._task = self._loop.create_task(self._answer(method, raw))
        return self._task

    async def _answer(self, method: Method, raw: bytes | None) -> None:
        if method.is_streamed:
            request = self._requests(method.request)
        else:
            try:
                request = method.request.FromString(raw)
            except Exception:  # noqa: BLE001 - none came, or it is no such message
                self.end(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
                return
        try:
            answer = await method.run(request, self)
            if self._status is None:
                if answer is not None:
                    self._say(answer)
                self.end(grpc.StatusCode.OK, "")
        except BaseException:  # nobody is left waiting, whatever went wrong
            if self._status is None:
                self.end(grpc.StatusCode.UNKNOWN, "The call failed.")
            raise

    async def _requests(self, kind: Any) -> AsyncIterator[Any]:
        while True:
            received: asyncio.Future[Any] = self._loop.create_future()
            self.receive(partial(_resolve, received))
            raw = await received
            if raw is None:
                return
            yield kind.FromString(raw)


def _resolve(received: asyncio.Future[Any], raw: bytes | None) -> None:
    if not received.done():
        received.set_result(raw)


def _let_go(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)


class Endpoint:
    """A port where methods are called, by their full names."""

    def __init__(self, methods: Mapping[str, Method], options: Sequence[tuple[str, int]]) -> None:
        self._methods = {name.encode(): method for name, method in methods.items()}
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple(options), False)
        self._server.register_completion_queue(self._queue)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._take, name="firestore-calls")

    def listen(self, address: str) -> int:
        """Take a port and return its number."""
        return int(self._server.add_http2_port(address.encode()))

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()
        self._server.request_call(self._queue, self._queue, _ARRIVED)
        self._thread.start()

    async def stop(self, grace: float) -> None:
        """Take no more calls, let those under way finish, but not for long, and cancel the rest."""
        self._server.shutdown(self._queue, _STOPPED)
        stopped = self._loop.run_in_executor(None, self._thread.join)
        await asyncio.wait([stopped], timeout=grace)
        if not stopped.done():
            self._server.cancel_all_calls()
            await stopped
        self._server.destroy()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self) -> None:
        """Take whatever the core completes until the server has stopped."""
        while True:
            event = self._queue.poll()
            if event.tag is _STOPPED:
                return
            if event.tag is not _ARRIVED:
                event.tag(event)
            elif event.success:
                with contextlib.suppress(ValueError):  # the server is being stopped: it takes no more
                    self._server.request_call(self._queue, self._queue, _ARRIVED)
                self._accept(event)
            del event  # it may hold the last reference to a call, which must be gone before the next wait

    def _accept(self, event: Any) -> None:
        call = Call(event.call, self._loop)
        call.watch()
        method = self._methods.get(event.call_details.method)
        if method is None:
            self._loop.call_soon_threadsafe(call.end, grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        elif method.is_streamed:
            self._loop.call_soon_threadsafe(self._begin, call, method, None)
        else:
            call.receive(partial(self._begin, call, method))

    def _begin(self, call: Call, method: Method, raw: bytes | None) -> None:
        task = call.begin(method, raw)
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A call failed", exc_info=error)
