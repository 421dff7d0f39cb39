"""`POST /samples` with an NDJSON body, which has one sample per line.

The response has one line per sample, in the same order. The server sends these lines while the body still arrives.
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
from starlette.types import Receive, Scope, Send

from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.caller import Caller
from graphql_api.budgets.budgets import Budgets
from graphql_api.budgets.loop_turns import LoopTurn
from graphql_api.error_entries import describe, describe_unexpected
from graphql_api.errors import count_failed_samples
from graphql_api.graphql_server.requests import request_headers
from graphql_api.graphql_server.requests.request_body import BodyStream
from graphql_api.graphql_server.requests.request_headers import Credential
from graphql_api.graphql_server.revocation import wait_until_refused
from graphql_api.ingest import ndjson
from graphql_api.ingest.admission import StreamAdmission
from graphql_api.ingest.receiver import Receiver
from graphql_api.ingest.repeated_samples import Outcome
from graphql_api.ingest.response_buffer import ResponseBuffer, SharedLimit
from storage.documents import (
    BadRequest,
    ContentKey,
    DropzoneError,
    Header,
    IncompleteJson,
    Labels,
    TooLarge,
    Unavailable,
)

NDJSON = "application/x-ndjson"
NDJSON_TYPES = frozenset({NDJSON.encode(), b"application/ndjson", b"application/jsonl", b"application/x-jsonlines"})

CONTENT = "content"
"""The value of the header `Idempotency-Key` with which the server derives the key of each sample from its bytes."""

_RECHECK_SECONDS = 1.0
"""Time between two checks of the API key of a streamed request. Keys are cached, so a check is cheap."""

_Receive = Callable[[Sequence[bytes]], Awaitable[list[Outcome]]]
"""Stores the samples of a batch of lines."""

logger = logging.getLogger("graphql_api")


class Services(Protocol):
    """The services that this endpoint uses. The application creates the services when it starts."""

    authenticator: Authenticator
    budgets: Budgets
    receiver: Receiver


class NdjsonSamples:
    """Stores the samples of NDJSON bodies."""

    def __init__(self, services: Services, receipt: Callable[[Header], dict[str, Any]]) -> None:
        """Use `receipt` for the response to one stored sample."""
        self._services = services
        self._receipt = receipt
        self._buffer_limit = SharedLimit()

    def respond(self, request: Request, caller: Caller, *, labels: Labels, idempotency_key: str | None) -> Response:
        """Return a response that stores the samples of the body. Each sample has `labels` in addition to its own.

        Raises `BadRequest` for an idempotency key other than `content`.
        """
        if idempotency_key not in (None, CONTENT):
            raise BadRequest(
                "the header Idempotency-Key applies to a body with one sample; in an NDJSON body, set the member "
                f"`idempotency_key` of each line, or send the value `{CONTENT}` to derive the keys from the lines"
            )
        budgets = self._services.budgets
        turn = budgets.turns.of(caller.submitter)
        decoding = budgets.memory.new_reservation(budgets.submitter(caller.submitter).request_bytes)
        body = BodyStream(request, turn, decoding)
        receive = partial(
            self._services.receiver.receive_lines,
            sender=caller,
            labels=labels,
            content_key=None if idempotency_key is None else ContentKey(labels),
        )
        receipts = self._receive_lines(body, turn, caller, request_headers.credential(request.scope), receive)
        return _NdjsonResponse(receipts, ResponseBuffer(self._buffer_limit, caller.submitter))

    async def _receive_lines(
        self, body: BodyStream, turn: LoopTurn, caller: Caller, credential: Credential, receive: _Receive
    ) -> AsyncGenerator[bytes, None]:
        """Store the samples of an NDJSON body, and yield the lines of the response."""
        admission: StreamAdmission | None = None

        async def authenticate(credential: Credential) -> None:
            sender = await self._services.authenticator.authenticate(credential)
            if admission is not None:
                admission.sender = sender  # the limits of the key can have changed

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
                memory.new_reservation(share) as line,
                memory.new_reservation(share) as in_flight,
                receiver.admission.stream(caller, check) as admission,
            ):
                batches = _admitted(ndjson.split(body, receiver.max_sample_bytes, line, turn), admission)
                process = partial(self._receive_batch, receive, admission)
                async with aclosing(ndjson.process(batches, process, in_flight)) as responses:
                    async for number, response in responses:
                        last_line = number
                        yield response
        except ClientDisconnect:
            if last_line:  # without a line, no sample was acknowledged
                logger.info("POST /samples ended early: the connection was closed after line %d", last_line)
        except DropzoneError as error:  # the body is too slow or cannot be decoded, or the key was revoked
            count_failed_samples(error)
            yield json_line({"error": describe(error)})
        except MemoryError as error:
            count_failed_samples(error)
            yield json_line({"error": describe(Unavailable("the server has too little memory; retry later"))})
        finally:
            refusal.cancel()
            # This ends a reference cycle: admission -> refusal -> its error -> `authenticate` -> admission.
            admission = None
            await body.aclose()

    async def _receive_batch(
        self, receive: _Receive, admission: StreamAdmission, batch: Sequence[ndjson.Line]
    ) -> tuple[int, bytes]:
        """Store the samples of a batch. Returns the number of its last line, and the lines of the response."""
        outcomes = iter(await receive([line for _, line in batch if not isinstance(line, TooLarge)]))
        admission.release(*ndjson.count_lines_and_bytes(batch))

        def respond(entry: ndjson.Line) -> bytes:
            number, line = entry
            return json_line(self._line_response(number, line if isinstance(line, TooLarge) else next(outcomes)))

        turn = self._services.budgets.turns.of(admission.sender.submitter)
        await turn.start()  # the writes of several batches end in the same iteration of the event loop
        return batch[-1][0], b"".join(await turn.map(respond, batch))

    def _line_response(self, number: int, outcome: Outcome) -> dict[str, Any]:
        if isinstance(outcome, IncompleteJson):
            outcome = IncompleteJson(f"{outcome}; each line of an NDJSON body must be a whole sample")
        if isinstance(outcome, DropzoneError):
            return {"line": number, "error": describe(outcome)}
        if isinstance(outcome, Exception):
            return {"line": number, "error": describe_unexpected(outcome, f"line {number} of POST /samples")}
        return {"line": number} | self._receipt(outcome)


class _NdjsonResponse(StreamingResponse):
    """A response that is sent while the request body is still read.

    StreamingResponse of Starlette reads the request body to detect a disconnect. This class does not.
    """

    def __init__(self, chunks: AsyncGenerator[bytes, None], buffer: ResponseBuffer) -> None:
        super().__init__(chunks, media_type=NDJSON)
        self._chunks = chunks
        self._buffer = buffer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
            await admission.wait(*ndjson.count_lines_and_bytes(batch))
            yield batch
            del batch  # it must not stay in memory while the next one is read


def json_line(value: dict[str, Any]) -> bytes:
    """Return a JSON object with a line end."""
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
