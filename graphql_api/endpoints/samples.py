"""Files and streams: `POST /samples` and `GET /samples/{id}`, the same door as GraphQL's `submit`.

One JSON document is one sample. NDJSON is as many as there are lines, answered line by line in order, as
soon as each is known. Errors are `{"error": {"message", "extensions": {"code"}}}`, as in GraphQL.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from graphql_api.auth.scopes import Caller, Scope
from graphql_api.endpoints.endpoint import Endpoint, endpoint
from graphql_api.errors import UnsupportedMediaType, describe, describe_unexpected
from graphql_api.graphql_server import request_headers
from graphql_api.graphql_server.request_body import read_body, stream_body
from graphql_api.graphql_server.request_headers import JSON, header, utf_8_type
from graphql_api.graphql_server.revocation import wait_until_refused
from graphql_api.ingest import ndjson
from graphql_api.ingest.receiver import Outcome, Receiver
from graphql_api.ingest.response_buffer import ResponseBuffer, SharedLimit
from graphql_api.results.store import Store
from storage.documents import Arrival, BadRequest, DropzoneError, Header, InvalidSample, TooLarge, state_of

_JSON = "application/json"
_NDJSON = "application/x-ndjson"
_NDJSON_TYPES = frozenset({_NDJSON.encode(), b"application/ndjson", b"application/jsonl", b"application/x-jsonlines"})

_RECHECK_SECONDS = 1.0  # what is known of a key is kept, so that this is cheap

logger = logging.getLogger("graphql_api")


class Services(Protocol):
    """What the process has once it has started."""

    receiver: Receiver
    store: Store

    async def authenticate(self, credential: str | None) -> Caller:
        """Return the caller that `credential` authenticates. Raises `Unauthenticated`."""


class SampleEndpoints:
    """The plain HTTP door."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._buffer_limit = SharedLimit()

    @property
    def endpoints(self) -> list[Endpoint]:
        """Return `POST /samples` and `GET /samples/{id}`."""
        authenticate = self._services.authenticate
        return [
            endpoint("/samples", self._post, method="POST", scope=Scope.SUBMIT, authenticate=authenticate),
            endpoint("/samples/{id}", self._get, method="GET", scope=Scope.READ, authenticate=authenticate),
        ]

    async def _post(self, request: Request, caller: Caller) -> Response:
        kind = utf_8_type(header(request, b"content-type"))
        key = _idempotency_key(request)
        if kind in _NDJSON_TYPES:
            if key is not None:
                raise BadRequest(
                    "the header Idempotency-Key is for one sample; in NDJSON each line has its own member "
                    "`idempotency_key`"
                )
            credential = request_headers.credential(request["headers"])
            answers = self._answer_lines(stream_body(request), caller.submitter, credential)
            return _Stream(answers, ResponseBuffer(self._buffer_limit), _NDJSON)
        if kind != JSON:
            raise UnsupportedMediaType(
                f"say what the body is by the header content-type: {_JSON} (one sample) or {_NDJSON} (one a line), "
                "in UTF-8"
            )
        receiver = self._services.receiver
        raw = await read_body(request, receiver.max_sample_bytes, memory_budget=receiver.memory_budget)
        received = await receiver.receive(raw, submitter=caller.submitter, idempotency_key=key)
        accepted = received.arrival is Arrival.ACCEPTED
        return Response(
            orjson.dumps(_receipt(received), option=orjson.OPT_APPEND_NEWLINE),
            status_code=201 if accepted else 422,
            headers={"location": f"/samples/{received.id}"},
            media_type=_JSON,
        )

    async def _get(self, request: Request, caller: Caller) -> Response:
        sample_id = request.path_params["id"]
        if known := request.headers.get("if-none-match"):
            headers = await self._services.store.headers(caller.submitter, [sample_id])
            if sample_id in headers and _is_named(headers[sample_id], known):
                return Response(status_code=304, headers=_describing(headers[sample_id]))
        try:
            stored, raw = await self._services.store.raw(caller.submitter, sample_id)
        except InvalidSample as error:  # it is not what was submitted, and that is no fault of this request
            body = {"error": describe_unexpected(error, f"GET /samples/{sample_id} of {caller.submitter}")}
            return Response(orjson.dumps(body), 500, media_type=_JSON)
        return Response(raw, media_type=_JSON, headers=_describing(stored))

    async def _answer_lines(
        self, body: AsyncIterator[bytes], submitter: str, credential: str | None
    ) -> AsyncGenerator[bytes, None]:
        authenticate = self._services.authenticate
        refusal = asyncio.create_task(wait_until_refused(authenticate, credential, _RECHECK_SECONDS))
        receiver = self._services.receiver
        batches = _until_refused(ndjson.split(body, receiver.max_sample_bytes, receiver.memory_budget), refusal)
        number = 0
        try:
            async with aclosing(ndjson.process(batches, partial(self._answer_batch, submitter))) as answers:
                async for last, answer in answers:
                    number = last
                    yield answer
        except ClientDisconnect:
            logger.warning("POST /samples ended early: its client was gone, or cut off, behind line %d", number)
        except DropzoneError as error:  # of the body as a whole: too slow, or not what its encoding says
            yield orjson.dumps({"error": describe(error)}, option=orjson.OPT_APPEND_NEWLINE)
        finally:
            refusal.cancel()

    async def _answer_batch(self, submitter: str, batch: Sequence[ndjson.Line]) -> tuple[int, bytes]:
        """Return the number of the last line, and the answers to all."""
        whole = [line for _, line in batch if not isinstance(line, TooLarge)]
        outcomes = iter(await self._services.receiver.receive_all(whole, submitter=submitter))
        answers = (_answer(number, line if isinstance(line, TooLarge) else next(outcomes)) for number, line in batch)
        return batch[-1][0], b"".join(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE) for answer in answers)


class _Stream(Response):
    """A body that is sent while the request is still read; Starlette's own would read the request itself."""

    def __init__(self, chunks: AsyncGenerator[bytes, None], buffer: ResponseBuffer, media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._chunks = chunks
        self._buffer = buffer

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        filling = asyncio.create_task(self._fill())
        try:
            while chunk := await self._buffer.read():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await filling
        finally:
            filling.cancel()
            await asyncio.wait([filling])
            self._buffer.discard()
        await send({"type": "http.response.body", "body": b""})

    async def _fill(self) -> None:
        try:
            async with aclosing(self._chunks) as chunks:
                async for chunk in chunks:
                    await self._buffer.write(chunk)
        finally:
            self._buffer.close()


async def _until_refused(
    batches: AsyncGenerator[list[ndjson.Line], None], refusal: asyncio.Task[DropzoneError]
) -> AsyncGenerator[list[ndjson.Line], None]:
    async with aclosing(batches):
        async for batch in batches:
            if refusal.done():
                raise refusal.result()
            yield batch


def _answer(number: int, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, DropzoneError):
        return {"line": number, "error": describe(outcome)}
    if isinstance(outcome, Exception):
        return {"line": number, "error": describe_unexpected(outcome, f"line {number} of POST /samples")}
    return {"line": number} | _receipt(outcome)


def _idempotency_key(request: Request) -> str | None:
    keys = set(request.headers.getlist("idempotency-key"))
    if len(keys) > 1:
        raise BadRequest(f"expected one header Idempotency-Key, got {len(keys)} that differ")
    return keys.pop() if keys else None


def _is_named(header: Header, known: str) -> bool:
    """Tell whether `If-None-Match` names this sample."""
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    return "*" in tags or _tag(header) in tags


def _tag(header: Header) -> str:
    return f'"{header.sha256}"'


def _describing(header: Header) -> dict[str, str]:
    return {"etag": _tag(header), "cache-control": "private", "x-content-type-options": "nosniff"}


def _receipt(header: Header) -> dict[str, Any]:
    problems = [problem.fields() for problem in header.problems]
    return {"id": header.id, "state": state_of(header.arrival), "problems": problems}
