"""GraphQL over Server-Sent Events: one stream per operation, or one stream for many.

With one stream for many ("single connection mode") a client first asks for a token (PUT), opens the
stream with it (GET), starts operations (POST, answered by 202) and stops them (DELETE). A token belongs
to the credential that asked for it. Whoever holds the token may open the stream without that credential,
since browsers' EventSource sends no headers; it is good for nothing else alone, and only once.

The tokens are kept in this process: several processes need a balancer that keeps clients where they are.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from secrets import token_urlsafe

import orjson

from graphql_api.graphql_server.execution.responses import Answer, refused
from graphql_api.graphql_server.protocols.response_streams import Framing, Sent
from graphql_api.graphql_server.settings import TransportSettings
from storage.documents.errors import BadRequest, Conflict, DropzoneError, NotFound, RateLimited

COMPLETE = b"event: complete\ndata: \n\n"
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


async def frames(answers: AsyncGenerator[Answer, None], sent: Sent) -> AsyncGenerator[bytes, None]:
    """Make each answer an event, and complete after the last."""
    async with aclosing(answers):
        async for answer in answers:
            yield event(b"next", answer.body)
            sent.cursor = answer.cursor
    yield COMPLETE


def event(name: bytes, data: bytes) -> bytes:
    """Make an event of JSON, which may hold a document that somebody wrote on several lines.

    A line break would end the data, and two of them the event. Between the tokens of JSON, the only place
    where there can be one, a space means the same.
    """
    return b"event: %b\ndata: %b\n\n" % (name, data.translate(_ONE_LINE))


FRAMING = Framing(
    content_type=b"text/event-stream; charset=utf-8",
    opening=b":\n\n",
    keep_alive=b":\n\n",
    farewell=b"",  # an end without `complete` is what makes a client come back
    refusal=lambda error: event(b"next", refused(error).body) + COMPLETE,
)


class EventStream:
    """One stream that carries the answers of many operations."""

    def __init__(self, credential: str | None, settings: TransportSettings) -> None:
        self.credential = credential
        self.opened = False
        self._closed = False
        self._settings = settings
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(settings.event_queue_length)
        self._operations: dict[str, asyncio.Task[None]] = {}

    def check_operation_id(self, operation_id: str | None) -> str:
        """Refuse an operation that cannot be told apart from the others, or that is one too many."""
        if self._closed:
            raise NotFound("The event stream of this token has ended; ask for another by PUT.")
        if not operation_id or len(operation_id) > self._settings.max_name_length:
            raise BadRequest("`extensions.operationId` should name the operation on this stream.")
        if operation_id in self._operations:
            raise Conflict("There is an operation with this `operationId` on this stream.")
        if len(self._operations) >= self._settings.max_subscriptions:
            raise RateLimited(f"At most {self._settings.max_subscriptions} operations share one stream.")
        return operation_id

    def start(self, operation_id: str, answers: AsyncGenerator[Answer, None]) -> None:
        """Begin to send the answers of an operation."""
        self._operations[operation_id] = asyncio.create_task(self._run(operation_id, answers))

    def stop(self, operation_id: str) -> None:
        """End an operation, if it is still there."""
        if operation := self._operations.get(operation_id):
            operation.cancel()

    async def next_frame(self) -> bytes:
        """Wait for the next event of any operation."""
        return await self._queue.get()

    def refusal(self, error: DropzoneError) -> bytes:
        """Make the last events of all operations, for a client that may have no more."""
        payload = orjson.Fragment(refused(error).body)
        return b"".join(
            event(b"next", orjson.dumps({"id": operation_id, "payload": payload}))
            + event(b"complete", orjson.dumps({"id": operation_id}))
            for operation_id in self._operations
        )

    async def close(self) -> None:
        """End all operations, and take no more."""
        self._closed = True
        running = list(self._operations.values())
        for operation in running:
            operation.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, operation_id: str, answers: AsyncGenerator[Answer, None]) -> None:
        try:
            async for answer in answers:
                await self._put(b"next", {"id": operation_id, "payload": orjson.Fragment(answer.body)})
            await self._put(b"complete", {"id": operation_id})
        finally:
            del self._operations[operation_id]
            await answers.aclose()

    async def _put(self, name: bytes, data: dict[str, object]) -> None:
        # A full queue holds back the operation, and so its source.
        await self._queue.put(event(name, orjson.dumps(data)))


class EventStreams:
    """The streams that were asked for, by token."""

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self._streams: dict[str, EventStream] = {}
        self._expiries: set[asyncio.Task[None]] = set()

    def reserve(self, credential: str | None) -> str:
        """Make a token with which one stream can be opened soon."""
        own = sum(stream.credential == credential for stream in self._streams.values())
        if len(self._streams) >= self._settings.max_event_streams or own >= self._settings.max_own_streams:
            raise RateLimited("There are too many event streams; close one, or wait for one to expire.")
        token = token_urlsafe(24)
        self._streams[token] = EventStream(credential, self._settings)
        expiry = asyncio.create_task(self._expire(token))
        self._expiries.add(expiry)
        expiry.add_done_callback(self._expiries.discard)
        return token

    def holder(self, token: str) -> str | None:
        """Return the credential that asked for a token."""
        stream = self._streams.get(token)
        return stream.credential if stream else None

    def find(self, token: str, credential: str | None) -> EventStream:
        """Return the stream of a token, for the credential that asked for it."""
        stream = self._streams.get(token)
        if stream is None or stream.credential != credential:
            raise NotFound("There is no event stream with this token; ask for one by PUT.")
        return stream

    def open(self, token: str, credential: str | None) -> tuple[AsyncGenerator[bytes, None], Framing]:
        """Return the events of a stream and its framing; the token is used up when they end."""
        stream = self.find(token, credential)
        if stream.opened:
            raise Conflict("The event stream of this token is open already.")
        stream.opened = True
        return self._frames(token, stream), replace(FRAMING, refusal=stream.refusal)

    async def _frames(self, token: str, stream: EventStream) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield await stream.next_frame()
        finally:
            self._streams.pop(token, None)
            await stream.close()

    async def close(self) -> None:
        """Forget all tokens."""
        for expiry in self._expiries:
            expiry.cancel()
        await asyncio.gather(*self._expiries, return_exceptions=True)
        for stream in self._streams.values():
            await stream.close()
        self._streams.clear()

    async def _expire(self, token: str) -> None:
        await asyncio.sleep(self._settings.reservation_seconds)
        stream = self._streams.get(token)
        if stream is not None and not stream.opened:
            del self._streams[token]
            await stream.close()
