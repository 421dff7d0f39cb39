"""Files and streams: `POST /samples` and `GET /samples/{id}`, the same door as GraphQL's `submit`.

One JSON document is one sample. NDJSON is as many as there are lines, answered line by line in order, as
soon as each is known. Errors are `{"error": {"message", "extensions": {"code"}}}`, as in GraphQL.
"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Protocol

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from documents import Arrival, DropzoneError, Header, TooLarge
from graphql_api import lines
from graphql_api.auth import Authenticator, Scope
from graphql_api.errors import UnsupportedMediaType, describe, describe_unexpected
from graphql_api.receiving import Receiver
from graphql_api.store import Store
from graphql_api.transport import credentials
from graphql_api.transport.bodies import read_body, stream_body

_JSON = "application/json"
_NDJSON = "application/x-ndjson"
_NDJSON_TYPES = frozenset({_NDJSON, "application/ndjson", "application/jsonl", "application/x-jsonlines"})


class Services(Protocol):
    """What the process has once it has started."""

    authenticator: Authenticator
    receiver: Receiver
    store: Store


class SampleEndpoints:
    """The plain HTTP door."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.routes = [
            Route("/samples", self._post, methods=["POST"]),
            Route("/samples/{id}", self._get, methods=["GET"]),
        ]

    async def _post(self, request: Request) -> Response:
        caller = await self._services.authenticator.caller(credentials.from_headers(request["headers"]))
        caller.require(Scope.SUBMIT)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in _NDJSON_TYPES:
            return _Stream(self._answer_lines(request, caller.submitter), media_type=_NDJSON)
        if kind != _JSON:
            raise UnsupportedMediaType(f"expected a body of {_JSON} or {_NDJSON}; say which in Content-Type")
        raw = await read_body(request, self._services.receiver.largest_bytes)
        key = request.headers.get("idempotency-key")
        header = await self._services.receiver.receive(raw, submitter=caller.submitter, idempotency_key=key)
        accepted = header.arrival is Arrival.ACCEPTED
        return Response(
            orjson.dumps(_receipt(header), option=orjson.OPT_APPEND_NEWLINE),
            status_code=201 if accepted else 422,
            headers={"location": f"/samples/{header.id}"},
            media_type=_JSON,
        )

    async def _get(self, request: Request) -> Response:
        caller = await self._services.authenticator.caller(credentials.from_headers(request["headers"]))
        caller.require(Scope.READ)
        header, raw = await self._services.store.raw(caller.submitter, request.path_params["id"])
        headers = {"etag": f'"{header.sha256}"', "cache-control": "private", "x-content-type-options": "nosniff"}
        return Response(raw, media_type=_JSON, headers=headers)

    async def _answer_lines(self, request: Request, submitter: str) -> AsyncIterator[bytes]:
        body = stream_body(request)
        split = lines.split(body, self._services.receiver.largest_bytes)
        try:
            async for answer in lines.answers(split, partial(self._answer, submitter)):
                yield orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE)
        except ClientDisconnect:
            return
        except DropzoneError as error:  # of the body as a whole: too slow, or not what its encoding says
            yield orjson.dumps({"error": describe(error)}, option=orjson.OPT_APPEND_NEWLINE)

    async def _answer(self, submitter: str, number: int, line: bytes | TooLarge) -> dict[str, Any]:
        if isinstance(line, TooLarge):
            return {"line": number, "error": describe(line)}
        try:
            header = await self._services.receiver.receive(line, submitter=submitter)
        except DropzoneError as error:
            return {"line": number, "error": describe(error)}
        except Exception as error:  # noqa: BLE001 - it is logged, and harms no other line
            return {"line": number, "error": describe_unexpected(error, f"line {number} of POST /samples")}
        return {"line": number} | _receipt(header)


class _Stream(Response):
    """A body that is sent while the request is still read; Starlette's own would read the request itself."""

    def __init__(self, chunks: AsyncIterator[bytes], media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._chunks = chunks

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _receipt(header: Header) -> dict[str, Any]:
    state = "PENDING" if header.arrival is Arrival.ACCEPTED else "REJECTED"
    problems = [problem.fields() for problem in header.problems]
    return {"id": header.id, "state": state, "problems": problems}
