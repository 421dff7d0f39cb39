"""The graphql-transport-ws protocol: many operations over one WebSocket.

One task reads messages. Each operation runs in its own task, which sends the responses of the operation. While the
write buffer of the client is full, sending waits. A slow client therefore holds at most one unsent response per
operation in memory. If a client violates the protocol, the server closes the WebSocket with a code of the protocol. If
an operation fails, the server sends an error with the id of the operation, and the WebSocket stays open.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial

import msgspec
import orjson
from starlette.types import Receive, Scope, Send

from graphql_api import error_entries
from graphql_api.budgets.memory_budget import MIN_RESERVED_BYTES
from graphql_api.errors import TooSlow
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest, read_json
from graphql_api.graphql_server.execution.operations import InvalidOperation
from graphql_api.graphql_server.execution.responses import GraphQLResponse, from_error
from graphql_api.graphql_server.operation_context import Authenticate, OperationContext
from graphql_api.graphql_server.protocols.transport_ws_messages import (
    BAD_MESSAGE,
    GOING_AWAY,
    ID_IN_USE,
    INITIALIZATION_TIMEOUT,
    INITIALIZED_TWICE,
    SUBPROTOCOL_NOT_ACCEPTABLE,
    UNAUTHORIZED,
    Close,
    Disconnected,
    Message,
    credential_in,
    decode,
    encode,
    object_in,
    refusal,
    too_slow,
)
from graphql_api.graphql_server.protocols.waiting_operations import WaitingOperations
from graphql_api.graphql_server.requests.request_headers import Credential
from graphql_api.graphql_server.revocation import wait_until_refused
from graphql_api.graphql_server.slow_reader_notice import set_notice
from graphql_api.graphql_server.tcp_state import wait_until_sent
from graphql_api.graphql_server.websocket_authentication import set_authenticated
from storage.documents.errors import BadRequest, DropzoneError, RateLimited

SUBPROTOCOL = "graphql-transport-ws"


class GraphQLWebSocket:
    """One accepted WebSocket."""

    def __init__(
        self,
        executor: Executor,
        authenticate: Authenticate,
        credential: Credential,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._executor = executor
        self._authenticate = authenticate
        self._settings = executor.settings
        self._credential = credential
        self._scope = scope
        self._receive = receive
        self._send_event = send
        self._context: OperationContext | None = None
        """Set when the client has authenticated itself."""
        self._operations: dict[str, asyncio.Task[None]] = {}
        """The operations that the client has not completed, by id."""
        self._cursors: dict[str, str] = {}
        """The last cursor that the client was sent, by the id of the operation. Empty before the first response."""
        set_notice(scope, partial(_too_slow_messages, self._cursors))
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = WaitingOperations()
        self._slot = contextlib.ExitStack()
        """The slots of this WebSocket in the budgets of its submitter."""

    async def run(self) -> None:
        """Accept the WebSocket and serve its messages until it ends.

        If the client does not offer the subprotocol, close the WebSocket with a code.
        """
        if SUBPROTOCOL not in self._scope["subprotocols"]:
            await self._send_event({"type": "websocket.accept"})
            await self._close(SUBPROTOCOL_NOT_ACCEPTABLE, f"expected the subprotocol {SUBPROTOCOL}")
            return
        await self._send_event({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        close: tuple[int, str] | None = None
        try:
            await self._initialize()
            await self._serve()
        except Close as raised:
            close = raised.code, raised.reason  # the exception itself refers to this frame
        except Disconnected:
            pass
        finally:
            await self._end_operations()
        if close is not None:
            await self._close(*close)

    async def _end_operations(self) -> None:
        try:
            if self._context is not None and self._tasks:
                await self._context.budget.turn().start()  # many WebSockets can end in the same iteration
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._slot.close()
            self._operations.clear()  # a cancelled task refers to its frames, and they refer to this object

    async def _close(self, code: int, reason: str) -> None:
        await self._send_event({"type": "websocket.close", "code": code, "reason": reason})

    async def _initialize(self) -> None:
        try:
            async with asyncio.timeout(self._settings.connection_init_seconds):
                while self._context is None:
                    await self._handle(await self._receive_message())
        except TimeoutError:
            raise Close(INITIALIZATION_TIMEOUT, "Connection initialisation timeout") from None

    async def _serve(self) -> None:
        """Handle messages until the client disconnects or its credential is refused."""
        seconds = self._settings.credential_check_seconds
        refused = asyncio.create_task(wait_until_refused(self._authenticate, self._credential, seconds))
        handling = asyncio.create_task(self._handle_messages())
        try:
            await asyncio.wait({refused, handling}, return_when=asyncio.FIRST_COMPLETED)
            if handling.done():
                handling.result()
            raise refusal(self._credential, refused.exception() or refused.result())
        finally:
            refused.cancel()
            handling.cancel()
            await asyncio.gather(refused, handling, return_exceptions=True)
            del refused, handling  # the error of a task refers to this frame

    async def _handle_messages(self) -> None:
        while True:
            await self._handle(await self._next_message())

    async def _next_message(self) -> Message:
        while True:
            try:
                async with asyncio.timeout(self._settings.idle_websocket_seconds):
                    return await self._receive_message()
            except TimeoutError:
                if not self._operations:
                    raise Close(GOING_AWAY, "the WebSocket had no operation for too long; connect again") from None

    async def _receive_message(self) -> Message:
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            raise Disconnected
        text = event.get("text")
        if text is None:
            raise Close(BAD_MESSAGE, "expected a text message, got a binary one")
        return decode(text.encode())

    async def _handle(self, message: Message) -> None:
        match message.type:
            case "connection_init":
                await self._acknowledge(message)
            case "ping":
                if isinstance(message.payload, msgspec.Raw) and len(memoryview(message.payload)) > MIN_RESERVED_BYTES:
                    raise Close(BAD_MESSAGE, f"expected at most {MIN_RESERVED_BYTES:,} bytes in a ping - at `payload`")
                await self._send("pong", payload=message.payload)
            case "pong":
                pass
            case "subscribe":
                await self._subscribe(message)
            case "complete":
                if not isinstance(message.id, str):
                    raise Close(BAD_MESSAGE, "expected a string - at `id`")
                if operation := self._forget(message.id):
                    operation.cancel()
            case _:
                raise Close(BAD_MESSAGE, f"got an unknown message type - at `type`: {message.type}")

    async def _acknowledge(self, message: Message) -> None:
        if self._context is not None:
            raise Close(INITIALIZED_TWICE, "Too many initialisation requests")
        payload = object_in(message)
        try:
            self._credential = credential_in(payload, self._credential)
            context = await self._authenticate(self._credential)
            context.allowance.admit_request()
            self._slot.enter_context(context.budget.connections.hold())
            self._slot.enter_context(context.budget.websockets.hold())
            set_authenticated(self._scope, self._executor.new_reservation(context))
        except Exception as error:  # noqa: BLE001 (the close reason names or masks any error)
            raise refusal(self._credential, error) from None
        self._context = context
        await self._send("connection_ack")

    async def _subscribe(self, message: Message) -> None:
        if self._context is None:
            raise Close(UNAUTHORIZED, "Unauthorized")
        if not isinstance(message.id, str) or not 0 < len(message.id) <= self._settings.max_name_length:
            raise Close(BAD_MESSAGE, f"expected 1 to {self._settings.max_name_length} characters - at `id`")
        if message.id in self._operations:
            raise Close(ID_IN_USE, f"Subscriber for {message.id} already exists")
        if not isinstance(message.payload, msgspec.Raw):
            raise Close(BAD_MESSAGE, "expected an object - at `payload`")
        try:
            request = read_json(message.payload)
        except BadRequest as error:
            raise Close(BAD_MESSAGE, str(error)) from None
        request.reservation = self._executor.new_reservation(self._context)
        await self._waiting.wait_for_room()
        limit = self._settings.max_operations_per_websocket
        if len(self._operations) >= limit:
            refused = RateLimited(f"expected at most {limit} operations at a time over a WebSocket; complete one first")
            await self._send("error", message.id, [error_entries.describe(refused)])
            return
        waiting = self._waiting.add(request.size, is_prepared=self._executor.is_prepared(request))
        task = asyncio.create_task(self._run(message.id, request, waiting))
        self._operations[message.id] = task
        self._cursors[message.id] = ""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._waiting.remove(waiting))  # the document may be invalid

    def _forget(self, operation_id: str) -> asyncio.Task[None] | None:
        """Free the id of an operation, and return its task."""
        task = self._operations.pop(operation_id, None)
        if task is not None:
            del self._cursors[operation_id]
        return task

    async def _run(self, operation_id: str, request: GraphQLRequest, waiting: asyncio.Event) -> None:
        try:
            failure = await self._send_responses(operation_id, request, waiting)
        except InvalidOperation as invalid:
            failure = invalid.response
        except DropzoneError as error:
            failure = from_error(error)
        except Disconnected:
            return  # the task that reads messages also ends
        except Exception as error:  # noqa: BLE001 (any other error is logged and masked)
            described = error_entries.describe_unexpected(error, "an operation over a WebSocket")
            failure = GraphQLResponse(orjson.dumps({"errors": [described]}), is_executed=False)
        # A client may reuse the id as soon as it has received the last message of the operation.
        if self._operations.get(operation_id) is asyncio.current_task():
            self._forget(operation_id)
        with contextlib.suppress(Disconnected):
            if failure is None:
                await self._send("complete", operation_id)
            else:
                await self._send("error", operation_id, orjson.loads(failure.body)["errors"])

    async def _send_responses(
        self, operation_id: str, request: GraphQLRequest, waiting: asyncio.Event
    ) -> GraphQLResponse | None:
        """Send the responses of an operation. Return a response with a request error instead of sending it."""
        assert request.reservation is not None
        with request.reservation as reservation:
            if request.size > MIN_RESERVED_BYTES:
                reservation.resize(request.size)  # before the operation waits
            context = await self._authenticate(self._credential)
            await context.budget.wait_to_start()
            context.allowance.admit_request()
            operation = await self._executor.prepare(request, context)
            self._waiting.remove(waiting)
            async with contextlib.aclosing(self._executor.subscribe(operation, request, context)) as responses:
                async for response in responses:
                    if not response.is_executed:
                        return response
                    await self._send("next", operation_id, orjson.Fragment(response.body))
                    self._cursors[operation_id] = response.cursor
                    if len(response.body) > MIN_RESERVED_BYTES:
                        await wait_until_sent(self._scope)
        return None

    async def _send(self, kind: str, operation_id: str | None = None, payload: object = msgspec.UNSET) -> None:
        text = encode(kind, operation_id, payload).decode()
        try:
            await self._send_event({"type": "websocket.send", "text": text})
        except OSError:
            raise Disconnected from None


def _too_slow_messages(cursors: Mapping[str, str]) -> list[bytes]:
    return [too_slow(operation_id, TooSlow(cursor)) for operation_id, cursor in cursors.items()]
