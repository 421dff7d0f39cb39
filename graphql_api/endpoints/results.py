"""Results to take away: `GET /results`, all that pass a filter, in order, as one file.

What is sent is as of one moment, and read only as fast as the client takes it; so memory is flat however much it
is. (Of a Parquet file the list of its row groups is held to the end.)
The trap: when something fails in the middle, the status has been sent long ago. Then the connection is cut
off before the end of the body is marked, so that no client takes a part for the whole.
"""

import asyncio
import contextlib
import math
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from graphql_api.auth.scopes import Caller, Scope
from graphql_api.endpoints.endpoint import Endpoint, endpoint
from graphql_api.errors import NotAcceptable, shorten
from graphql_api.graphql_server import request_headers
from graphql_api.graphql_server.request_headers import preferred
from graphql_api.results.export_formats import COLUMNS, FLAT_COLUMNS, HAS_ARROW, Arrow, Csv, Format, Ndjson
from graphql_api.results.filters import FILTER_FIELDS, OPERATORS, ORDER_FIELDS, Bound, Direction, Order
from graphql_api.results.store import Store
from storage.documents import BadRequest, timestamps
from storage.firestore import encoding

_AT_ONCE = 200
_NUMBER = re.compile(r"[+-]?[\d.]+(?:[eE][+-]?\d+)?", re.ASCII)  # Python also takes other digits, and 1_000


@dataclass(frozen=True, slots=True)
class _Kind:
    media_type: str
    file_name: str
    columns: tuple[str, ...]
    begin: Callable[[], Format]
    needs_arrow: bool = False


_KINDS = {
    "ndjson": _Kind("application/x-ndjson", "results.ndjson", COLUMNS, Ndjson),
    "csv": _Kind("text/csv", "results.csv", FLAT_COLUMNS, Csv),
    "arrow": _Kind("application/vnd.apache.arrow.stream", "results.arrows", COLUMNS, Arrow, needs_arrow=True),
    "parquet": _Kind(
        "application/vnd.apache.parquet", "results.parquet", COLUMNS, lambda: Arrow(parquet=True), needs_arrow=True
    ),
}
_PARAMETERS = (
    "format",
    "order_by",
    "direction",
    *(f"{field}.{limit}" for field in FILTER_FIELDS for limit in OPERATORS),
)


class Services(Protocol):
    """What the process has once it has started."""

    store: Store

    async def authenticate(self, credential: str | None) -> Caller:
        """Return the caller that `credential` authenticates. Raises `Unauthenticated`."""


class ResultEndpoint:
    """The way out for whoever wants results as a file."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def endpoints(self) -> list[Endpoint]:
        """Return `GET /results`."""
        authenticate = self._services.authenticate
        return [endpoint("/results", self._get, method="GET", scope=Scope.READ, authenticate=authenticate)]

    async def _get(self, request: Request, caller: Caller) -> Response:
        parameters = _parameters(request.query_params)
        bounds, order = _bounds(parameters), _order(parameters)
        kind = _kind(parameters.get("format"), request.headers.get("accept", ""))
        headers = {
            "content-disposition": f'attachment; filename="{kind.file_name}"',
            "cache-control": "private",
            "vary": "accept",
            "x-content-type-options": "nosniff",
        }
        if request.method == "HEAD":
            head = Response(headers=headers, media_type=kind.media_type)
            del head.headers["content-length"]
            return head
        credential = request_headers.credential(request["headers"])
        body = self._body(kind, caller.submitter, credential, bounds, order)
        return StreamingResponse(body, headers=headers, media_type=kind.media_type)

    async def _body(
        self, kind: _Kind, submitter: str, credential: str | None, bounds: list[Bound], order: Order
    ) -> AsyncGenerator[bytes, None]:
        file = await asyncio.to_thread(kind.begin)  # pyarrow takes most of a second to import
        results = self._services.store.result_listing.scan(submitter, bounds, order, kind.columns[1:], _AT_ONCE)
        async with aclosing(results) as batches:
            async for documents in batches:
                await self._services.authenticate(credential)  # it may have been revoked meanwhile
                yield file.write([_row(document) for document in documents])
        yield file.finish()


def _row(document: Any) -> Mapping[str, Any]:
    return {"id": document.name.rpartition("/")[2], **encoding.from_document(document)}


def _parameters(given: QueryParams) -> dict[str, str]:
    """Return the parameters by name. Raises `BadRequest` for one that is unknown or comes twice."""
    for name in given:
        if name not in _PARAMETERS:
            known = f"format, order_by, direction, and .gte, .gt, .lte, .lt of {', '.join(FILTER_FIELDS)}"
            raise BadRequest(f"`{shorten(name, 40)}` is no parameter; known are {known}")
        if len(given.getlist(name)) > 1:
            raise BadRequest(f"expected one value, got {len(given.getlist(name))} - at `{name}`")
    return dict(given)


def _bounds(parameters: Mapping[str, str]) -> list[Bound]:
    bounds = []
    for name, text in parameters.items():
        field, dot, limit = name.partition(".")
        if dot:
            try:
                bounds.append(Bound(field, OPERATORS[limit], _value(field, text)))
            except ValueError as fault:
                raise BadRequest(f"{fault} - at `{name}`") from None
    return bounds


def _value(field: str, text: str) -> datetime | float | int:
    """Return what a range is bounded by. Raises `ValueError` with a sentence."""
    if field == "timestamp":
        return timestamps.parse(text)
    read, kind, end = (int, "whole", 2**63) if field == "count" else (float, "finite", math.inf)
    number = math.nan
    if _NUMBER.fullmatch(text):
        with contextlib.suppress(ValueError):
            number = read(text)
    if abs(number) < end:  # which NaN is not
        return number
    raise ValueError(f"expected a {kind} number, got {shorten(text, 40)}")


def _order(parameters: Mapping[str, str]) -> Order:
    """Return the order, which is as in GraphQL: the latest first where nothing is said, else ascending."""
    field = _choice(parameters, "order_by", "timestamp", ORDER_FIELDS)
    default = "asc" if "order_by" in parameters else "desc"
    direction = _choice(parameters, "direction", default, [*Direction])
    return Order(field, descending=direction == "desc")


def _kind(name: str | None, accept: str) -> _Kind:
    if name is None:
        offered = {kind.media_type.encode(): each for each, kind in _KINDS.items()}
        wanted = preferred(accept.encode("latin-1", "replace"), [*offered])
        if wanted is None:
            raise NotAcceptable(f"results come as {', '.join(kind.media_type for kind in _KINDS.values())}")
        name = offered[wanted]
    kind = _KINDS[_choice({"format": name}, "format", name, [*_KINDS])]
    if kind.needs_arrow and not HAS_ARROW:
        raise NotAcceptable(f"{name} needs the extra `arrow`, which is not installed here; take ndjson or csv")
    return kind


def _choice(parameters: Mapping[str, str], name: str, default: str, choices: Sequence[str]) -> str:
    chosen = parameters.get(name, default)
    if chosen not in choices:
        raise BadRequest(f"expected one of {', '.join(choices)}, got {shorten(chosen, 40)} - at `{name}`")
    return chosen
