"""GraphQL over HTTP: one address for GET and POST, and for streams of answers.

The order matters. Who is asking is settled before anything else is looked at, so that nobody without
a key learns more than that; then what the headers say; then the body. Only `application/json` bodies
are read, which a page of another origin cannot send without asking first.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial

import orjson
from graphql import OperationType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from graphql_api import errors
from graphql_api.errors import MethodNotAllowed, NotAcceptable, UnsupportedMediaType
from graphql_api.graphql_server import credentials
from graphql_api.graphql_server.credentials import Authenticate
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest, read_json, read_query_string
from graphql_api.graphql_server.execution.operations import InvalidOperation
from graphql_api.graphql_server.execution.responses import Answer, refused
from graphql_api.graphql_server.headers import header
from graphql_api.graphql_server.memory_budget import Capacity
from graphql_api.graphql_server.protocols import multipart, negotiation, server_sent_events
from graphql_api.graphql_server.protocols.response_streams import Framing, Sent, StreamResponse
from graphql_api.graphql_server.protocols.server_sent_events import EventStream, EventStreams
from graphql_api.graphql_server.request_body import read_body
from graphql_api.graphql_server.settings import BREATH_SECONDS, TransportSettings
from storage.documents.errors import DropzoneError, Unauthenticated, Unavailable

METHODS = "GET, POST, PUT, DELETE"
LARGE_BODY = 1024 * 1024
_SAFE = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]

Page = Callable[[Request], Awaitable[Response]]


class HTTPEndpoint:
    """Answers HTTP requests for one schema."""

    def __init__(
        self, executor: Executor, context: Authenticate, settings: TransportSettings, page: Page, capacity: Capacity
    ) -> None:
        self._executor = executor
        self._capacity = capacity
        self._context = context
        self._settings = settings
        self._page = page
        self._event_streams = EventStreams(settings)
        self._closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        except DropzoneError as error:
            response = refusal(error)
        except Exception as error:  # noqa: BLE001 (the boundary: whatever it is, it is logged and masked)
            body = orjson.dumps({"errors": [errors.describe_unexpected(error, "an HTTP request")]})
            response = _response(500, negotiation.JSON, body)
        await response(scope, receive, send)

    async def close(self) -> None:
        """End all streams in a way that makes clients come back."""
        self._closing.set()
        await self._event_streams.close()

    async def _respond(self, request: Request) -> Response:
        accepted = negotiation.accepted(header(request, b"accept"))
        if request.method == "GET" and accepted.prefers_html and b"query=" not in request["query_string"]:
            return await self._page(request)
        credential = credentials.from_headers(request["headers"])
        token = header(request, b"x-graphql-event-stream-token").decode("latin-1")
        if not token and b"token=" in request["query_string"]:
            token = request.query_params.get("token", "")
        opens_stream = request.method == "GET" and bool(token)
        if opens_stream and credential is None:
            credential = self._event_streams.holder(token)
        context = await self._context(credential)
        if opens_stream:
            return self._respond_with(*self._event_streams.open(token, credential), credential, Sent())
        match request.method:
            case "POST" if token:
                stream = self._event_streams.find(token, credential)
                return await self._start_on(stream, await self._read_body(request), context)
            case "POST":
                return await self._execute(await self._read_body(request), credential, context, accepted)
            case "GET":
                asked = read_query_string(request["query_string"])
                return await self._execute(asked, credential, context, accepted, reads_only=True)
            case "PUT":
                return _response(201, b"text/plain", self._event_streams.reserve(credential).encode())
            case "DELETE" if token:
                stream = self._event_streams.find(token, credential)
                stream.stop(request.query_params.get("operationId", ""))
                return _response(200, b"text/plain", b"")
        raise MethodNotAllowed(f"GraphQL is asked for by {METHODS}.", allow=METHODS)

    async def _read_body(self, request: Request) -> GraphQLRequest:
        if not negotiation.is_json(header(request, b"content-type")):
            raise UnsupportedMediaType("The content type should be application/json, in UTF-8.")
        body = await read_body(request, self._settings.max_body_bytes, self._settings, self._capacity)
        asked = read_json(body)
        if len(body) > LARGE_BODY:
            # Its variables are split next; those who wait for the loop have their turn between the two.
            await asyncio.sleep(BREATH_SECONDS)
        return asked

    async def _execute(
        self,
        asked: GraphQLRequest,
        credential: str | None,
        context: object,
        accepted: negotiation.Accepted,
        *,
        reads_only: bool = False,
    ) -> Response:
        if accepted.answer is None and accepted.stream is None:
            raise NotAcceptable("Accept should allow application/graphql-response+json or application/json.")
        try:
            operation = self._executor.prepare(asked)
        except InvalidOperation as invalid:
            if accepted.prefers_stream:
                return self._stream(_once(invalid.answer), accepted, credential)
            return _single(invalid.answer, accepted.answer)
        if reads_only and operation.type is OperationType.MUTATION:
            raise MethodNotAllowed("A mutation cannot be asked for by GET.", allow="POST")
        if operation.type is OperationType.SUBSCRIPTION or accepted.prefers_stream:
            if accepted.stream is None:
                raise NotAcceptable("A subscription needs text/event-stream, or multipart/mixed, in Accept.")
            answers = self._executor.subscribe(operation, asked, context)
            return self._stream(answers, accepted, credential)
        return _single(await self._executor.execute(operation, asked, context), accepted.answer)

    async def _start_on(self, stream: EventStream, asked: GraphQLRequest, context: object) -> Response:
        operation_id = stream.check_operation_id(asked.operation_id)
        try:
            operation = self._executor.prepare(asked)
        except InvalidOperation as invalid:
            return _response(400, negotiation.JSON, invalid.answer.body)
        stream.start(operation_id, self._executor.subscribe(operation, asked, context))
        return _response(202, b"text/plain", b"")

    def _stream(
        self, answers: AsyncGenerator[Answer, None], accepted: negotiation.Accepted, credential: str | None
    ) -> StreamResponse:
        wire = multipart if accepted.stream == negotiation.MULTIPART else server_sent_events
        sent = Sent()
        return self._respond_with(wire.frames(answers, sent), wire.FRAMING, credential, sent)

    def _respond_with(
        self, frames: AsyncGenerator[bytes, None], framing: Framing, credential: str | None, sent: Sent
    ) -> StreamResponse:
        refusal = partial(credentials.refusal, self._context, credential, self._settings.recheck_seconds)
        return StreamResponse(frames, framing, refusal, self._closing, self._settings, sent)


def refusal(error: DropzoneError) -> Response:
    """Answer a request that is refused as a whole."""
    headers = []
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b'Bearer realm="dropzone"'))
    elif isinstance(error, Unavailable):
        headers.append((b"retry-after", b"%d" % error.retry_after))
    elif isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode()))
    elif isinstance(error, UnsupportedMediaType):
        headers.append((b"accept-encoding", b"gzip, zstd"))
    status = errors.HTTP_STATUS.get(error.code, 400)
    return _response(status, negotiation.JSON, refused(error).body, *headers)


def _single(answer: Answer, accepted: bytes | None) -> Response:
    media_type = accepted or negotiation.JSON
    if answer.retry_after is not None:
        return _response(503, media_type, answer.body, (b"retry-after", b"%d" % answer.retry_after))
    status = 200 if answer.executed or media_type == negotiation.JSON else 400
    return _response(status, media_type, answer.body)


def _response(status: int, media_type: bytes, body: bytes, *headers: tuple[bytes, bytes]) -> Response:
    return _Answered(status, [(b"content-type", media_type + b"; charset=utf-8"), *_SAFE, *headers], body)


class _Answered(Response):
    """A response whose headers are bytes already."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status_code = status
        self.body = body
        self.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]
        self.background = None


async def _once(answer: Answer) -> AsyncGenerator[Answer, None]:
    yield answer
