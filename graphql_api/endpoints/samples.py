"""`POST /samples`, and `GET` and `DELETE` of `/samples/{id}`: samples over plain HTTP.

A JSON body is one sample. An NDJSON body has one sample per line. The response to NDJSON has one line per sample, in
the same order. The server sends these lines while the body still arrives. An error is
`{"error": {"message", "extensions": {"code"}}}`, with the same codes as in GraphQL.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.scopes import Caller, Scope
from graphql_api.budgets.budgets import Budgets
from graphql_api.budgets.loop_turns import LoopTurn
from graphql_api.endpoints import label_headers
from graphql_api.endpoints.endpoint import Endpoint, endpoint, public
from graphql_api.errors import UnsupportedMediaType, describe, describe_unexpected
from graphql_api.graphql_server import request_headers
from graphql_api.graphql_server.request_body import BodyStream, read_body, stream_body
from graphql_api.graphql_server.request_headers import JSON, Credential, header, utf_8_type
from graphql_api.graphql_server.revocation import wait_until_refused
from graphql_api.ingest import ndjson
from graphql_api.ingest.admission import StreamAdmission
from graphql_api.ingest.receiver import Outcome, Receiver
from graphql_api.ingest.response_buffer import ResponseBuffer, SharedLimit
from graphql_api.results.deletion.deleter import Deleter
from graphql_api.results.store import Store
from storage.documents import (
    Arrival,
    BadRequest,
    ContentKey,
    DropzoneError,
    Header,
    InvalidSample,
    TooLarge,
    Unavailable,
    state_of,
)

_JSON = "application/json"
_NDJSON = "application/x-ndjson"
_NDJSON_TYPES = frozenset({_NDJSON.encode(), b"application/ndjson", b"application/jsonl", b"application/x-jsonlines"})

_CONTENT = "content"
"""The value of the header `Idempotency-Key` with which the key of each line derives from its bytes."""

_READ_COST = 5
"""Cost units of reading a raw document, which can have dozens of megabytes."""

_RECHECK_SECONDS = 1.0
"""Interval between two checks of the API key of a streamed request. Keys are cached, so a check is cheap."""

_Receive = Callable[[Sequence[bytes]], Awaitable[list[Outcome]]]
"""Stores the samples of a batch of lines."""

logger = logging.getLogger("graphql_api")


class Services(Protocol):
    """The services that these endpoints use. The application creates the services when it starts."""

    authenticator: Authenticator
    budgets: Budgets
    audit_log: AuditLog
    deleter: Deleter
    receiver: Receiver
    store: Store


class SampleEndpoints:
    """The endpoints `/samples` and `/samples/{id}`."""

    def __init__(self, services: Services, max_request_bytes: int) -> None:
        self._services = services
        self._max_request_bytes = max_request_bytes
        self._buffer_limit = SharedLimit()

    @property
    def endpoints(self) -> list[Endpoint]:
        """Return `POST` and `OPTIONS /samples`, `GET /samples/{id}` and `DELETE /samples/{id}`."""
        services = self._services
        return [
            endpoint("/samples", self._post, method="POST", scope=Scope.SUBMIT, services=services),
            public(Route("/samples", self._options, methods=["OPTIONS"])),
            endpoint("/samples/{id}", self._get, method="GET", scope=Scope.READ, services=services, cost=_READ_COST),
            endpoint("/samples/{id}", self._delete, method="DELETE", scope=Scope.ADMIN, services=services),
        ]

    async def _options(self, request: Request) -> Response:
        """Announce the size limit of a request, as draft-ietf-httpbis-resumable-upload describes."""
        del request
        limit = {"upload-limit": f"max-size={self._max_request_bytes}"} if self._max_request_bytes else {}
        return Response(status_code=204, headers={"allow": "OPTIONS, POST", **limit})

    async def _post(self, request: Request, caller: Caller) -> Response:
        media_type = utf_8_type(header(request, b"content-type"))
        idempotency_key = request_headers.utf_8_text(request, "Idempotency-Key")
        earlier_id = request_headers.utf_8_text(request, "x-supersedes")
        request_labels = label_headers.read(request)
        if media_type in _NDJSON_TYPES:
            if earlier_id is not None:
                raise BadRequest("the header x-supersedes applies to a body with one sample")
            if idempotency_key not in (None, _CONTENT):
                raise BadRequest(
                    "the header Idempotency-Key applies to a body with one sample; in an NDJSON body, set the member "
                    f"`idempotency_key` of each line, or send the value `{_CONTENT}` to derive the keys from the lines"
                )
            credential = request_headers.credential(request.scope)
            turn = self._services.budgets.turns.of(caller.submitter)
            body = stream_body(request, turn=turn)
            content_key = None if idempotency_key is None else ContentKey(request_labels)
            receive = partial(
                self._services.receiver.receive_admitted,
                sender=caller,
                labels=request_labels,
                content_key=content_key,
            )
            receipts = self._receive_lines(body, turn, caller, credential, receive)
            return _NdjsonResponse(receipts, ResponseBuffer(self._buffer_limit))
        if media_type != JSON:
            raise UnsupportedMediaType(
                f"expected the header content-type: {_JSON} (one sample) or {_NDJSON} (one sample per line), in UTF-8"
            )
        receiver, budgets = self._services.receiver, self._services.budgets
        budget = budgets.submitter(caller.submitter)
        with budgets.memory.reserve(budget.request_bytes) as reservation:
            raw = await read_body(request, receiver.max_sample_bytes, reservation=reservation, turn=budget.turn)
        stored = await receiver.receive(
            raw,
            sender=caller,
            idempotency_key=idempotency_key,
            labels=request_labels,
            supersedes=earlier_id,
        )
        return Response(
            _json_line(_receipt(stored)),
            status_code=201 if stored.arrival is Arrival.ACCEPTED else 422,
            headers={"location": f"/samples/{stored.id}"},
            media_type=_JSON,
        )

    async def _get(self, request: Request, caller: Caller) -> Response:
        sample_id = request.path_params["id"]
        if known_tags := request.headers.get("if-none-match"):
            headers = await self._services.store.headers(caller.submitter, [sample_id])
            if sample_id in headers and _matches(headers[sample_id], known_tags):
                return Response(status_code=304, headers=_response_headers(headers[sample_id]))
        try:
            stored, raw = await self._services.store.raw(caller.submitter, sample_id)
        except InvalidSample as error:  # the stored document is damaged; the client made no error
            body = {"error": describe_unexpected(error, f"GET /samples/{sample_id} of {caller.submitter}")}
            return Response(orjson.dumps(body), 500, media_type=_JSON)
        return Response(raw, media_type=_JSON, headers=_response_headers(stored))

    async def _delete(self, request: Request, caller: Caller) -> Response:
        reason = request.query_params.get("reason", "")
        sample_id = request.path_params["id"]
        await self._services.deleter.delete_one(caller.submitter, sample_id, reason)
        await self._services.audit_log.add(
            caller.submitter, actor=caller.credential, action="samples.deleted", details=f"sample {sample_id}"
        )
        return Response(status_code=204)

    async def _receive_lines(
        self, body: BodyStream, turn: LoopTurn, caller: Caller, credential: Credential, receive: _Receive
    ) -> AsyncGenerator[bytes, None]:
        """Store the samples of an NDJSON body, and yield the lines of the response."""
        authenticate = self._services.authenticator.authenticate
        refusal = asyncio.create_task(wait_until_refused(authenticate, credential, _RECHECK_SECONDS))
        receiver, memory = self._services.receiver, self._services.budgets.memory
        share = self._services.budgets.submitter(caller.submitter).request_bytes
        last_line = 0

        def check() -> None:
            body.check_client()
            if refusal.done():
                raise refusal.result()

        try:
            with (
                memory.reserve(share) as line,
                memory.reserve(share) as in_flight,
                receiver.admission.stream(caller, check) as admission,
            ):
                batches = _admitted(ndjson.split(body, receiver.max_sample_bytes, line, turn), admission)
                process = partial(self._receive_batch, caller, receive, admission)
                async with aclosing(ndjson.process(batches, process, in_flight)) as responses:
                    async for number, response in responses:
                        last_line = number
                        yield response
        except ClientDisconnect:
            if last_line:  # otherwise nothing was acknowledged, so nothing is lost
                logger.info("POST /samples ended early: the client disconnected after line %d", last_line)
        except DropzoneError as error:  # the body is too slow or cannot be decoded, or the key was revoked
            yield _json_line({"error": describe(error)})
        except MemoryError:
            yield _json_line({"error": describe(Unavailable("the server has too little memory; retry later"))})
        finally:
            refusal.cancel()
            await body.aclose()

    async def _receive_batch(
        self, caller: Caller, receive: _Receive, admission: StreamAdmission, batch: Sequence[ndjson.Line]
    ) -> tuple[int, bytes]:
        """Store the samples of a batch. Returns the number of its last line, and the lines of the response."""
        outcomes = iter(await receive([line for _, line in batch if not isinstance(line, TooLarge)]))
        admission.release(*ndjson.size(batch))

        def respond(entry: ndjson.Line) -> bytes:
            number, line = entry
            return _json_line(_line_response(number, line if isinstance(line, TooLarge) else next(outcomes)))

        turn = self._services.budgets.turns.of(caller.submitter)
        await turn.start()  # the writes of several batches end in the same turn of the event loop
        return batch[-1][0], b"".join(await turn.map(respond, batch))


class _NdjsonResponse(StreamingResponse):
    """A response that is sent while the request body is still read.

    StreamingResponse of Starlette reads the request body to detect a disconnect. This class does not.
    """

    def __init__(self, chunks: AsyncGenerator[bytes, None], buffer: ResponseBuffer) -> None:
        super().__init__(chunks, media_type=_NDJSON)
        self._chunks = chunks
        self._buffer = buffer

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        writer = asyncio.create_task(self._write_to_buffer())
        try:
            while chunk := await self._buffer.read():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await writer
        finally:
            writer.cancel()
            await asyncio.wait([writer])
            self._buffer.discard()
        await send({"type": "http.response.body", "body": b""})

    async def _write_to_buffer(self) -> None:
        try:
            async with aclosing(self._chunks) as chunks:
                async for chunk in chunks:
                    await self._buffer.write(chunk)
        finally:
            self._buffer.close()


async def _admitted(
    batches: AsyncGenerator[list[ndjson.Line], None], admission: StreamAdmission
) -> AsyncGenerator[list[ndjson.Line], None]:
    """Yield each batch as soon as its samples may be stored."""
    async with aclosing(batches):
        async for batch in batches:
            await admission.wait(*ndjson.size(batch))
            yield batch
            del batch  # it must not stay in memory while the next one is read


def _line_response(number: int, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, DropzoneError):
        return {"line": number, "error": describe(outcome)}
    if isinstance(outcome, Exception):
        return {"line": number, "error": describe_unexpected(outcome, f"line {number} of POST /samples")}
    return {"line": number} | _receipt(outcome)


def _matches(header: Header, known_tags: str) -> bool:
    """Return whether the value of `If-None-Match` contains the entity tag of this sample."""
    tags = {tag.strip().removeprefix("W/") for tag in known_tags.split(",")}
    return "*" in tags or _entity_tag(header) in tags


def _entity_tag(header: Header) -> str:
    return f'"{header.sha256}"'


def _response_headers(header: Header) -> dict[str, str]:
    return {"etag": _entity_tag(header), "cache-control": "private"}


def _json_line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _receipt(header: Header) -> dict[str, Any]:
    problems = [problem.fields() for problem in header.problems]
    receipt = {"id": header.id, "state": state_of(header.arrival), "problems": problems}
    return receipt | {"labels": header.labels} if header.labels else receipt
