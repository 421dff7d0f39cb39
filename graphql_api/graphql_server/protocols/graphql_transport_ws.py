"""The graphql-transport-ws protocol: many operations over one WebSocket.

The reader answers to the protocol, and every operation is a task that sends its own answers; a send
waits while the client's buffer is full, so what a slow client costs is one answer per operation. Whatever
breaks the protocol closes the socket with the code that the protocol has for it; whatever is wrong with
one operation is told under its id, and the socket stays open.
"""

import asyncio
import contextlib
from typing import Any

import msgspec
import orjson
from starlette.types import Receive, Send

from graphql_api import errors
from graphql_api.errors import TooSlow
from graphql_api.graphql_server import credentials
from graphql_api.graphql_server.credentials import Authenticate
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest, read_json
from graphql_api.graphql_server.execution.operations import InvalidOperation
from graphql_api.graphql_server.execution.responses import Answer, refused
from graphql_api.graphql_server.settings import TransportSettings
from storage.documents.errors import BadRequest, DropzoneError, Forbidden, RateLimited, Unauthenticated

SUBPROTOCOL = "graphql-transport-ws"

BAD_MESSAGE = 4400
NOT_INITIALISED = 4401
REFUSED = 4403
SUBPROTOCOL_NOT_ACCEPTABLE = 4406
INITIALISATION_TIMEOUT = 4408
ID_IN_USE = 4409
INITIALISED_TWICE = 4429
GOING_AWAY = 1001
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013

MAX_REASON_LENGTH = 120  # a close frame has room for 123 bytes


class _Close(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = errors.shorten(reason, MAX_REASON_LENGTH)


class _Disconnected(Exception):
    """The client is gone, or the server is closing the socket."""


class _Frame(msgspec.Struct):
    type: str
    id: str | msgspec.UnsetType = msgspec.UNSET
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_FRAME = msgspec.json.Decoder(_Frame)
_PAYLOAD = msgspec.json.Decoder(dict[str, Any] | None)


class Socket:
    """One WebSocket that was accepted, to its end."""

    def __init__(
        self,
        executor: Executor,
        context: Authenticate,
        settings: TransportSettings,
        credential: str | None,
        receive: Receive,
        send: Send,
    ) -> None:
        self._executor = executor
        self._context = context
        self._settings = settings
        self._credential = credential
        self._receive = receive
        self._send_message = send
        self._acknowledged = False
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._sent: dict[str, str] = {}
        """The cursor that each operation has come to."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, speaks_protocol: bool) -> None:
        """Accept the WebSocket and serve it, or close it with the code for what is wrong."""
        if not speaks_protocol:
            await self._send_message({"type": "websocket.accept"})
            await self._close(SUBPROTOCOL_NOT_ACCEPTABLE, f"The subprotocol should be {SUBPROTOCOL}")
            return
        await self._send_message({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        close: _Close | None = None
        try:
            await self._initialise()
            await self._serve()
        except _Close as asked:
            close = asked
        except _Disconnected:
            pass
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if close is not None:
            await self._close(close.code, close.reason)

    async def _close(self, code: int, reason: str) -> None:
        await self._send_message({"type": "websocket.close", "code": code, "reason": reason})

    async def _initialise(self) -> None:
        try:
            async with asyncio.timeout(self._settings.connection_init_seconds):
                while not self._acknowledged:
                    await self._handle(await self._receive_frame())
        except TimeoutError:
            raise _Close(INITIALISATION_TIMEOUT, "Connection initialisation timeout") from None

    async def _serve(self) -> None:
        """Handle frames until the client goes, or until its credential is good no longer."""
        seconds = self._settings.recheck_seconds
        refusal = asyncio.create_task(credentials.refusal(self._context, self._credential, seconds))
        reading = asyncio.create_task(self._handle_frames())
        try:
            await asyncio.wait({refusal, reading}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            raise self._refused(refusal.exception() or refusal.result())
        finally:
            refusal.cancel()
            reading.cancel()
            await asyncio.gather(refusal, reading, return_exceptions=True)

    async def _handle_frames(self) -> None:
        while True:
            await self._handle(await self._next_frame())

    async def _next_frame(self) -> _Frame:
        while True:
            try:
                async with asyncio.timeout(self._settings.idle_socket_seconds):
                    return await self._receive_frame()
            except TimeoutError:
                if not self._operations:
                    raise _Close(GOING_AWAY, "Idle for too long") from None

    async def _receive_frame(self) -> _Frame:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise _Disconnected
        text = message.get("text")
        if text is None:
            raise _Close(BAD_MESSAGE, "Messages should be text")
        try:
            return _FRAME.decode(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise _Close(BAD_MESSAGE, f"Invalid message: {error}") from None

    async def _handle(self, frame: _Frame) -> None:
        match frame.type:
            case "connection_init":
                await self._acknowledge(frame)
            case "ping":
                await self._send("pong", payload=frame.payload)
            case "pong":
                pass
            case "subscribe":
                self._subscribe(frame)
            case "complete":
                if not isinstance(frame.id, str):
                    raise _Close(BAD_MESSAGE, "`id` is missing")
                if operation := self._operations.pop(frame.id, None):
                    operation.cancel()
            case _:
                raise _Close(BAD_MESSAGE, f"Unexpected message of type {frame.type}")

    async def _acknowledge(self, frame: _Frame) -> None:
        if self._acknowledged:
            raise _Close(INITIALISED_TWICE, "Too many initialisation requests")
        try:
            payload = _PAYLOAD.decode(frame.payload) if isinstance(frame.payload, msgspec.Raw) else None
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            raise _Close(BAD_MESSAGE, "`payload` should be an object") from None
        self._credential = credentials.from_payload(payload or {}) or self._credential
        try:
            await self._context(self._credential)
        except Exception as error:  # noqa: BLE001 (the boundary: whatever it is, it is told or masked)
            raise self._refused(error) from None
        self._acknowledged = True
        await self._send("connection_ack")

    def _refused(self, error: BaseException) -> _Close:
        if isinstance(error, (Unauthenticated, Forbidden)):
            code = NOT_INITIALISED if self._credential is None else REFUSED
            return _Close(code, f"{error.code}: {error}")
        if isinstance(error, DropzoneError):
            return _Close(TRY_AGAIN_LATER, f"{error.code}: {error}")
        described = errors.describe_unexpected(error, "the credential of a WebSocket")
        return _Close(INTERNAL_ERROR, f"INTERNAL: {described['extensions']['id']}")

    def _subscribe(self, frame: _Frame) -> None:
        if not self._acknowledged:
            raise _Close(NOT_INITIALISED, "Unauthorized")
        if not isinstance(frame.id, str) or not 0 < len(frame.id) <= self._settings.max_name_length:
            raise _Close(BAD_MESSAGE, f"`id` should have up to {self._settings.max_name_length} characters")
        if frame.id in self._operations:
            raise _Close(ID_IN_USE, f"Subscriber for {frame.id} already exists")
        if not isinstance(frame.payload, msgspec.Raw):
            raise _Close(BAD_MESSAGE, "`payload` is missing")
        try:
            asked = read_json(frame.payload)
        except BadRequest as error:
            raise _Close(BAD_MESSAGE, str(error)) from None
        is_full = len(self._operations) >= self._settings.max_subscriptions
        task = asyncio.create_task(self._run(frame.id, asked, is_full))
        self._operations[frame.id] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, operation_id: str, asked: GraphQLRequest, is_full: bool) -> None:
        try:
            ending = self._one_too_many() if is_full else await self._answer(operation_id, asked)
        except InvalidOperation as invalid:
            ending = invalid.answer
        except DropzoneError as error:
            ending = refused(error)
        except _Disconnected:
            return  # the reader is told so too
        except Exception as error:  # noqa: BLE001 (the boundary: whatever it is, it is logged and masked)
            described = errors.describe_unexpected(error, "an operation over a WebSocket")
            ending = Answer(orjson.dumps({"errors": [described]}), executed=False)
        # The client may use the id again as soon as it is told that the operation is over.
        if self._operations.get(operation_id) is asyncio.current_task():
            del self._operations[operation_id]
        with contextlib.suppress(_Disconnected):
            if ending is None:
                await self._send("complete", operation_id)
            else:
                await self._send("error", operation_id, orjson.loads(ending.body)["errors"])

    def _one_too_many(self) -> Answer:
        return refused(RateLimited(f"At most {self._settings.max_subscriptions} operations share one socket."))

    async def _answer(self, operation_id: str, asked: GraphQLRequest) -> Answer | None:
        """Send the answers of an operation; return one that ends it with an error."""
        operation = self._executor.prepare(asked)
        context = await self._context(self._credential)
        answers = self._executor.subscribe(operation, asked, context)
        try:
            async for answer in answers:
                if not answer.executed:
                    return answer
                await self._send("next", operation_id, orjson.Fragment(answer.body))
                self._sent[operation_id] = answer.cursor
        finally:
            self._sent.pop(operation_id, None)
            await answers.aclose()
        return None

    def last_words(self) -> list[str]:
        """Return what tells a client that does not read how to go on with each of its operations."""
        return [
            _text("error", operation_id, [errors.describe(TooSlow(self._sent.get(operation_id, "")))])
            for operation_id in self._operations
        ]

    async def _send(self, kind: str, operation_id: str | None = None, payload: object = msgspec.UNSET) -> None:
        try:
            await self._send_message({"type": "websocket.send", "text": _text(kind, operation_id, payload)})
        except OSError:
            raise _Disconnected from None


def _text(kind: str, operation_id: str | None, payload: object) -> str:
    frame: dict[str, object] = {"type": kind}
    if operation_id is not None:
        frame["id"] = operation_id
    if isinstance(payload, msgspec.Raw):
        frame["payload"] = orjson.Fragment(bytes(payload))
    elif payload is not msgspec.UNSET:
        frame["payload"] = payload
    return orjson.dumps(frame).decode()
