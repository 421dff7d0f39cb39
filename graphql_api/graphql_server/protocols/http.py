"""GraphQL over HTTP: GET and POST at one path, for single responses and for event streams.

The server checks the credential first, then the headers, then the body. A client without a valid credential therefore
learns nothing else about its request. The server reads only `application/json` bodies, because browsers do not send
such a body to another origin without a preflight request.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import ExitStack
from functools import partial

import orjson
from graphql import OperationType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from graphql_api import error_entries, errors
from graphql_api.budgets.allowance import set_allowance
from graphql_api.budgets.memory_budget import MIN_RESERVED_BYTES, Reservation
from graphql_api.credential_errors import FOR_KEYS, Challenges
from graphql_api.errors import MethodNotAllowed, NotAcceptable, UnsupportedMediaType
from graphql_api.graphql_server.disconnection import while_connected
from graphql_api.graphql_server.execution.executor import Executor
from graphql_api.graphql_server.execution.graphql_request import GraphQLRequest, read_json, read_query_string
from graphql_api.graphql_server.execution.operations import InvalidOperation
from graphql_api.graphql_server.execution.responses import GraphQLResponse, from_error
from graphql_api.graphql_server.large_response import LargeResponse
from graphql_api.graphql_server.operation_context import Authenticate, OperationContext
from graphql_api.graphql_server.protocols.server_sent_events import EventStreamResponse
from graphql_api.graphql_server.requests import request_headers
from graphql_api.graphql_server.requests.media_types import JSON, Accepted, accepted, utf_8_type
from graphql_api.graphql_server.requests.request_body import read_body
from graphql_api.graphql_server.requests.request_headers import Credential, header
from graphql_api.graphql_server.revocation import wait_until_refused
from storage.documents.errors import DropzoneError

_METHODS = "GET, POST"
_SAFE_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_NO_HEADERS: Mapping[str, str] = {}

Page = Callable[[Request], Awaitable[Response]]
"""Returns the HTML page for browsers."""


class HTTPEndpoint:
    """The ASGI application that serves one schema over HTTP."""

    def __init__(self, executor: Executor, authenticate: Authenticate, page: Page, challenges: Challenges) -> None:
        self._executor = executor
        self._authenticate = authenticate
        self._settings = executor.settings
        self._page = page
        self._challenges = challenges
        self._stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        with ExitStack() as reserved:
            try:
                response = await self._respond(request, reserved)
            except ClientDisconnect:
                return
            except DropzoneError as error:
                response = refusal(error, self._challenges)
            except Exception as error:  # noqa: BLE001 (any other error is logged and masked)
                body = orjson.dumps({"errors": [error_entries.describe_unexpected(error, "an HTTP request")]})
                response = _response(500, JSON, body)
            await response(scope, receive, send)

    def end_streams(self) -> None:
        """End all event streams, so that their clients reconnect."""
        self._stopping.set()

    async def _respond(self, request: Request, reserved: ExitStack) -> Response:
        """Return the response. Until it is sent, `reserved` holds the memory of a large body and other budgets."""
        accept = accepted(header(request, b"accept"))
        if request.method == "GET" and accept.prefers_html and b"query=" not in request["query_string"]:
            return await self._page(request)
        credential = request_headers.credential(request.scope)
        context = await self._authenticate(credential)
        reserved.callback(context.end_reads)
        allowance = context.allowance
        set_allowance(request.scope, allowance)
        allowance.admit_request()
        reserved.enter_context(context.budget.connections.hold())
        match request.method:
            case "POST":
                graphql_request = await self._read_body(request, context, reserved)
            case "GET":
                graphql_request = read_query_string(request["query_string"])
            case method:
                raise MethodNotAllowed(f"this path does not support {method}; use {_METHODS}", allow=_METHODS)
        return await self._execute(request, graphql_request, credential, context, accept)

    async def _read_body(self, request: Request, context: OperationContext, reserved: ExitStack) -> GraphQLRequest:
        if utf_8_type(header(request, b"content-type")) != JSON:
            raise UnsupportedMediaType(
                "expected the header Content-Type: application/json, with the charset UTF-8 or without a charset"
            )
        reservation: Reservation | None = None

        def reserve() -> Reservation:
            nonlocal reservation
            reservation = reserved.enter_context(self._executor.new_reservation(context))
            return reservation

        body = await read_body(
            request, self._settings.max_body_bytes, self._settings, reserve=reserve, budget=context.budget
        )
        if len(body) > MIN_RESERVED_BYTES:
            await context.budget.turn().start()  # the last bytes of many bodies can arrive at the same time
        graphql_request = read_json(body)
        graphql_request.reservation = reservation
        return graphql_request

    async def _execute(
        self,
        request: Request,
        graphql_request: GraphQLRequest,
        credential: Credential,
        context: OperationContext,
        accept: Accepted,
    ) -> Response:
        if accept.single is None and accept.stream is None:
            raise NotAcceptable("expected application/graphql-response+json or application/json in the header `Accept`")
        preparation = self._executor.prepare(graphql_request, context)
        if not self._executor.is_prepared(graphql_request):  # the document can wait, and takes long to read
            preparation = while_connected(request.receive, preparation)
        try:
            operation = await preparation
        except InvalidOperation as invalid:
            if accept.prefers_stream:
                return self._stream(_once(invalid.response), credential)
            return _single(invalid.response, accept.single)
        if request.method == "GET" and operation.type is OperationType.MUTATION:
            raise MethodNotAllowed("a mutation must be sent by POST", allow="POST")
        if operation.type is OperationType.SUBSCRIPTION or accept.prefers_stream:
            if accept.stream is None:
                raise NotAcceptable("a subscription needs text/event-stream in the header `Accept`")
            if operation.type is OperationType.SUBSCRIPTION:
                self._executor.check_room(context)  # the response can still have the status of the error
            return self._stream(self._executor.subscribe(operation, graphql_request, context), credential)
        execution = self._executor.execute(operation, graphql_request, context)
        if operation.is_long_query:
            execution = while_connected(request.receive, execution)
        return _single(await execution, accept.single)

    def _stream(self, responses: AsyncGenerator[GraphQLResponse, None], credential: Credential) -> Response:
        return EventStreamResponse(
            responses,
            wait_until_refused=partial(
                wait_until_refused,
                self._authenticate,
                credential,
                self._settings.credential_check_seconds,
            ),
            stopping=self._stopping,
            keep_alive_seconds=self._settings.keep_alive_seconds,
        )


def refusal(error: DropzoneError, challenges: Challenges = FOR_KEYS) -> Response:
    """Return the response to a request that fails before its operation is executed."""
    status = errors.HTTP_STATUS.get(error.code, 400)
    return _response(status, JSON, from_error(error).body, errors.error_headers(error, challenges))


def _single(response: GraphQLResponse, media_type: bytes | None) -> Response:
    media_type = media_type or JSON
    if response.retry_after is not None:
        headers = {"retry-after": str(response.retry_after)}
        return _response(response.retry_status, media_type, response.body, headers)
    status = 200 if response.is_executed or media_type == JSON else 400
    return _response(status, media_type, response.body)


def _response(status: int, media_type: bytes, body: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> Response:
    content_type = f"{media_type.decode()}; charset=utf-8"
    all_headers = {"content-type": content_type, **_SAFE_HEADERS, **headers}
    if len(body) > MIN_RESERVED_BYTES:
        return LargeResponse(body, status, all_headers, held=ExitStack())
    return Response(body, status, all_headers)


async def _once(response: GraphQLResponse) -> AsyncGenerator[GraphQLResponse, None]:
    yield response
