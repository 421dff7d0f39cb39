"""`GET /results`: exports results that pass a filter as one file, in the requested order.

The server reads all results at one read time, and as fast as the client reads the response. Memory use therefore does
not depend on the number of results. Parquet is an exception: its writer holds a list of all row groups in memory.

The server sends the status after the first read, so an error of this read has a status of its own. If a later read
fails, the server closes the connection before the end of the body. A client can therefore detect that the file is
incomplete.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.caller import Caller
from graphql_api.budgets.budget import RETRY_SECONDS, refusal
from graphql_api.budgets.budgets import Budgets
from graphql_api.endpoints import export_parameters
from graphql_api.endpoints.endpoint import Endpoint, endpoint
from graphql_api.errors import NotAcceptable
from graphql_api.graphql_server.disconnection import while_connected
from graphql_api.graphql_server.requests import request_headers
from graphql_api.graphql_server.requests.media_types import preferred
from graphql_api.graphql_server.requests.request_headers import Credential
from graphql_api.results.exports.columns import COLUMNS, FLAT_COLUMNS, batch_of
from graphql_api.results.exports.formats import HAS_PARQUET, Arrow, Csv, Format, Ndjson, Parquet
from graphql_api.results.store import Store
from graphql_api.scopes import Scope

_PAGE_SIZE = 1_000
"""The results that are read with one request. With 500, exports of 100,000 results took 8 to 23 % longer."""

_BATCH_SIZE = 250
_BATCH_COST = 250
"""Cost units of reading a batch. The cost limits how many exports of one submitter read at the same time."""

_MAX_WAIT_SECONDS = 10.0
"""An export that waits longer is refused, because other exports can be read slowly for hours."""


@dataclass(frozen=True, slots=True)
class _Export:
    """A file format that results can be exported in."""

    media_type: str
    file_name: str
    columns: tuple[str, ...]
    open: Callable[[], Format]
    is_available: bool = True
    has_long_steps: bool = False
    """Whether a step can take dozens of milliseconds. The steps then run in a thread, not on the event loop."""

    async def run(self, step: Callable[..., bytes], *arguments: Any) -> bytes:
        """Run a step of writing the file."""
        return await asyncio.to_thread(step, *arguments) if self.has_long_steps else step(*arguments)


_EXPORTS = {
    "ndjson": _Export("application/x-ndjson", "results.ndjson", COLUMNS, Ndjson),
    "csv": _Export("text/csv", "results.csv", FLAT_COLUMNS, Csv),
    "arrow": _Export("application/vnd.apache.arrow.stream", "results.arrows", COLUMNS, Arrow),
    "parquet": _Export(
        "application/vnd.apache.parquet", "results.parquet", COLUMNS, Parquet, HAS_PARQUET, has_long_steps=True
    ),
}


class Services(Protocol):
    """The services that this endpoint uses. The application creates the services when it starts."""

    authenticator: Authenticator
    budgets: Budgets
    store: Store


def results_endpoint(services: Services) -> Endpoint:
    """Return `GET /results`."""
    return endpoint("/results", _Exporter(services).respond, method="GET", scope=Scope.READ, services=services)


class _Exporter:
    """Responds with a file of results."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def respond(self, request: Request, caller: Caller) -> Response:
        """Return the response, whose body is read from Firestore while it is sent."""
        parameters = export_parameters.read(request)
        selection = export_parameters.read_selection(parameters)
        order, limit = export_parameters.read_order(parameters), export_parameters.read_limit(parameters)
        export = _export(parameters.get("format"), request.headers.get("accept", ""))
        headers = {
            "content-disposition": f'attachment; filename="{export.file_name}"',
            "cache-control": "private",
            "vary": "accept",
        }
        if request.method == "HEAD":
            head = Response(headers=headers, media_type=export.media_type)
            del head.headers["content-length"]
            return head
        self._services.budgets.memory.check_resident()
        credential = request_headers.credential(request.scope)
        results = self._services.store.result_listing.scan_encoded(
            caller.submitter, selection, order, export.columns[1:], max(1, min(_PAGE_SIZE, limit))
        )
        body = self._body(export, caller, credential, _batches(results, limit))
        exports = self._services.budgets.charged(caller).exports
        async with contextlib.AsyncExitStack() as held:
            try:
                async with asyncio.timeout(_MAX_WAIT_SECONDS):
                    await while_connected(request.receive, held.enter_async_context(exports.hold(1)))
            except TimeoutError:
                raise refusal(exports.limit, f"at most {exports.max_amount:,} at a time", RETRY_SECONDS) from None
            return _FileResponse(body, headers, export.media_type, held.pop_all())

    async def _body(
        self, export: _Export, caller: Caller, credential: Credential, results: AsyncGenerator[list[Any], None]
    ) -> AsyncGenerator[bytes, None]:
        budgets = self._services.budgets
        file = await asyncio.to_thread(export.open)  # importing pyarrow takes a moment
        async with aclosing(results) as batches:
            while True:
                await self._services.authenticator.authenticate(credential)  # the key can be revoked during the export
                budget, held = budgets.charged(caller).cost(_BATCH_COST)
                async with budget.hold(held):
                    documents = await anext(batches, None)
                    if documents is None:
                        break
                    written = await export.run(file.write, await batch_of(documents, budgets.charged(caller).turn()))
                yield written  # outside of the budget, because clients can read slowly
        yield await export.run(file.finish)


class _FileResponse(StreamingResponse):
    """A response that ends when its client disconnects. It then closes `held`.

    StreamingResponse does this with anyio, which leaves a reference cycle for each response that it cancels.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        headers: Mapping[str, str],
        media_type: str,
        held: contextlib.AsyncExitStack,
    ) -> None:
        super().__init__(chunks, headers=headers, media_type=media_type)
        self._chunks = chunks
        self._held = held

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        async with self._held, aclosing(self._chunks):
            with contextlib.suppress(ClientDisconnect):
                await while_connected(receive, self.stream_response(send))

    async def stream_response(self, send: Send) -> None:
        """Send the chunks. An error of the first chunk is raised before anything is sent."""
        chunk = await anext(self._chunks, None)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while chunk is not None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await anext(self._chunks, None)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _batches(results: AsyncGenerator[list[Any], None], limit: int) -> AsyncGenerator[list[Any], None]:
    """Yield the first `limit` documents in batches that take only a few milliseconds to write."""
    async with aclosing(results) as pages:
        async for page in pages:
            for start in range(0, min(len(page), limit), _BATCH_SIZE):
                yield page[start : min(start + _BATCH_SIZE, limit)]
            limit -= len(page)
            if limit <= 0:
                return


def _export(name: str | None, accept: str) -> _Export:
    """Return the export format called `name`. If `name` is None, return the format that the header `Accept` prefers."""
    if name is None:
        names = {export.media_type.encode(): each for each, export in _EXPORTS.items()}
        media_type = preferred(accept.encode("latin-1", "replace"), [*names])
        if media_type is None:
            media_types = ", ".join(export.media_type for export in _EXPORTS.values())
            raise NotAcceptable(f"expected one of {media_types} - in the header `Accept`")
        name = names[media_type]
    export = _EXPORTS[export_parameters.read_choice({"format": name}, "format", name, [*_EXPORTS])]
    if not export.is_available:
        raise NotAcceptable(f"{name} needs pyarrow, which this server does not have; use arrow, csv or ndjson")
    return export
