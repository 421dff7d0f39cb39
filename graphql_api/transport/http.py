"""GraphQL over HTTP: one address for GET and POST, and for streams of answers.

The order matters. Who is asking is settled before anything else is looked at, so that nobody without
a key learns more than that; then what the headers say; then the body. Only `application/json` bodies
are read, which a page of another origin cannot send without asking first.
"""

from collections.abc import Awaitable, Callable

import orjson
from graphql import OperationType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from documents.errors import DropzoneError, Unauthenticated, Unavailable
from graphql_api import errors
from graphql_api.errors import MethodNotAllowed, NotAcceptable, UnsupportedMediaType
from graphql_api.transport import credentials, negotiation
from graphql_api.transport.bodies import read_body
from graphql_api.transport.execution import Answer, Executor, InvalidOperation, refused
from graphql_api.transport.requests import read_json, read_query_string
from graphql_api.transport.settings import TransportSettings

METHODS = "GET, POST"

Authenticate = Callable[[str | None], Awaitable[object]]
"""Makes the context of one operation from a credential, or raises `Unauthenticated`."""

Page = Callable[[Request], Awaitable[Response]]


class HTTPEndpoint:
    """Answers HTTP requests for one schema."""

    def __init__(self, executor: Executor, context: Authenticate, settings: TransportSettings, page: Page) -> None:
        self._executor = executor
        self._context = context
        self._settings = settings
        self._page = page

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

    async def _respond(self, request: Request) -> Response:
        accepted = negotiation.accepted(_header(request, b"accept"))
        if request.method == "GET" and accepted.prefers_html and b"query=" not in request["query_string"]:
            return await self._page(request)
        context = await self._context(credentials.from_headers(request["headers"]))
        if accepted.answer is None and accepted.stream is None:
            raise NotAcceptable("Accept should allow application/graphql-response+json or application/json.")
        if request.method == "GET":
            asked = read_query_string(request["query_string"])
        elif request.method == "POST":
            if not negotiation.is_json(_header(request, b"content-type")):
                raise UnsupportedMediaType("The content type should be application/json, in UTF-8.")
            asked = read_json(await read_body(request, self._settings.largest_body, self._settings))
        else:
            raise MethodNotAllowed(f"GraphQL is asked for by {METHODS}.", allow=METHODS)
        try:
            operation = self._executor.prepare(asked)
        except InvalidOperation as invalid:
            return _single(invalid.answer, accepted)
        if request.method == "GET" and operation.type is OperationType.MUTATION:
            raise MethodNotAllowed("A mutation cannot be asked for by GET.", allow="POST")
        return _single(await self._executor.execute(operation, asked, context), accepted)


def refusal(error: DropzoneError) -> Response:
    """Answer a request that is refused as a whole."""
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="dropzone"'
    elif isinstance(error, Unavailable):
        headers["retry-after"] = str(error.retry_after)
    elif isinstance(error, MethodNotAllowed):
        headers["allow"] = error.allow
    elif isinstance(error, UnsupportedMediaType):
        headers["accept-encoding"] = "gzip, zstd"
    status = errors.HTTP_STATUS.get(error.code, 400)
    return _response(status, negotiation.JSON, refused(error).body, headers)


def _single(answer: Answer, accepted: negotiation.Accepted) -> Response:
    media_type = accepted.answer or negotiation.JSON
    if answer.retry_after is not None:
        return _response(503, media_type, answer.body, {"retry-after": str(answer.retry_after)})
    status = 200 if answer.executed or media_type == negotiation.JSON else 400
    return _response(status, media_type, answer.body)


def _response(status: int, media_type: bytes, body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(
        body,
        status,
        {
            "content-type": f"{media_type.decode()}; charset=utf-8",
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **(headers or {}),
        },
    )


def _header(request: Request, name: bytes) -> bytes:
    values = [value for key, value in request["headers"] if key == name]
    return values[0] if len(values) == 1 else b",".join(values)
