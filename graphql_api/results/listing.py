"""Results and samples in order: in pages, counted, or all of them one after another.

Every shard is read on its own and what comes is merged. What spans several calls is read as of one moment, or what
one shard has not yet another would have gone past.

A trap: a document without a field is in no index with that field, so an order by it leaves the document out.
Results of version 1 have no median. So the median decides no order but its own; in the others, ranges of it are not
for Firestore: what was read is looked at here, as are samples for the states that their headers do not hold.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from heapq import merge
from itertools import islice
from typing import Any

from graphql_api.results.filters import INDEXED_FIELDS, Bound, Order
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.pagination import Cursor, Page, Span
from storage.documents import Arrival, Header, Result, SampleState, Status, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore

HEADER_FIELDS = (
    "state_on_arrival",
    "problems",
    "submitted_at",
    "time_stamp",
    "time_zone",
    "count",
    "bytes",
    "sha256",
    "chunks",
    "shard",
)
Keep = Callable[[Sequence[Any]], Awaitable[Collection[str]]]
"""Tells the ids of those documents that are wanted."""

_SCANNED_AT_ONCE = 200
_MAX_SCANNED = 2_000
_MIN_BATCH_SIZE = 100


class Lists:
    """Every method takes the submitter that the credential stands for and touches no other's documents."""

    def __init__(self, firestore: Firestore, *, shards: int) -> None:
        self._firestore = firestore
        self._shards = shards

    async def results(self, submitter: str, bounds: Sequence[Bound], order: Order, span: Span) -> Page[Result]:
        """Return the computed results of `span` that are within `bounds`.

        In an order other than its own a range of the median can leave pages short, as `samples` says.
        """
        query, keep = _results_query(order, bounds)
        page = await self._page(submitter, query, keep, span)
        return replace(page, edges=[(place, computed_result(submitter, each)) for place, each in page.edges])

    async def count_results(self, submitter: str, bounds: Sequence[Bound]) -> int:
        """Return how many computed results there are within `bounds`."""
        order = next((bound.field for bound in bounds if bound.field == "median"), "timestamp")
        return await self._count(submitter, _results_query(Order(order), bounds)[0])

    async def samples(
        self, submitter: str, state: SampleState | None, bounds: Sequence[Bound], span: Span
    ) -> Page[Header]:
        """Return the samples of `span`, the newest first.

        PENDING, COMPUTED and FAILED are not stored in the header, so the results decide; after
        `_MAX_SCANNED` samples a page ends even if it is not full, and `end` says where to go on.
        """
        query, keep = self._samples_query(submitter, state, bounds)
        page = await self._page(submitter, query, keep, span)
        return replace(page, edges=[(place, shown_header(submitter, each)) for place, each in page.edges])

    async def count_samples(self, submitter: str, state: SampleState | None, bounds: Sequence[Bound]) -> int:
        """Return how many samples there are in `state` within `bounds`.

        What is not stored in the header is counted in the results, or one by one where there are bounds.
        """
        query, keep = self._samples_query(submitter, state, bounds, select=("shard",))
        if state is None or keep is None:
            return await self._count(submitter, query)
        if bounds:
            return sum([len(documents) async for documents in self._scan(submitter, query, keep)])
        now = await self._firestore.now()
        pending = state is SampleState.PENDING
        statuses = [Status.COMPUTED, Status.FAILED] if pending else [Status(state.value)]
        found = sum([await self._count(submitter, _status_query(status), now) for status in statuses])
        return await self._count(submitter, query, now) - found if pending else found

    async def scan_results(
        self, submitter: str, bounds: Sequence[Bound], order: Order, select: Sequence[str], at_once: int = 2_000
    ) -> AsyncGenerator[list[Any], None]:
        """Yield all computed results within `bounds` as protocol `Document`s, in order, as of now.

        About so many come `at_once`, with the fields in `select` and those that decide the order.
        """
        async for documents in self._scan(submitter, *_results_query(order, bounds, select), at_once):
            yield documents

    async def outdated(
        self, submitter: str, version: int, bounds: Sequence[Bound], limit: int
    ) -> AsyncGenerator[Sequence[str], None]:
        """Yield the ids of results within `bounds` that are older than `version`: none to `limit` at a time.

        Each time as of then, so that it may go on for hours; what is replaced meanwhile keeps its place or leaves.
        """
        query, keep = _results_query(Order("timestamp"), bounds, select=("statistics_version",))
        if not bounds:
            older = Bound("statistics_version", "<", version)
            query = OrderedQuery(document_paths.RESULTS, Order(older.field), bounds=[older], select=(older.field,))
        place: Cursor | None = None
        while documents := await self._next(submitter, query, limit, Span(0), place):
            place = query.cursor(documents[-1])
            wanted = await keep(documents) if keep else {_id(each) for each in documents}
            old = [each for each in documents if each.fields["statistics_version"].integer_value < version]
            yield [_id(each) for each in old if _id(each) in wanted]

    async def _page(self, submitter: str, query: OrderedQuery, keep: Keep | None, span: Span) -> Page[Any]:
        """Return the documents of `span` that are to be kept."""
        edges: list[tuple[Cursor, Any]] = []
        scanned, place, has_more = 0, span.start, True
        while scanned < _MAX_SCANNED:
            limit = _SCANNED_AT_ONCE if keep else span.size + 1
            documents = await self._next(submitter, query, limit, span, place)
            wanted = await keep(documents) if keep else None
            for document in documents:
                if wanted is None or _id(document) in wanted:
                    if len(edges) == span.size:
                        return Page(_in_order(edges, span), has_more=True, end=place)
                    edges.append((query.cursor(document), document))
                place = query.cursor(document)
            if len(documents) < limit:
                has_more = False
                break
            scanned += len(documents)
        return Page(_in_order(edges, span), has_more, end=place)

    async def _next(
        self, submitter: str, query: OrderedQuery, limit: int, span: Span, start: Cursor | None
    ) -> list[Any]:
        """Return the next `limit` documents of all shards behind `start`, in the order in which `span` reads them."""
        read_time = None if self._shards == 1 else await self._firestore.now()
        inclusive = span.inclusive and start == span.start
        pages = await self._pages(submitter, query, limit, span, start, inclusive, read_time)
        return list(islice(_merged(query, pages, span.backward), limit))

    async def _scan(
        self, submitter: str, query: OrderedQuery, keep: Keep | None, at_once: int = _SCANNED_AT_ONCE
    ) -> AsyncGenerator[list[Any], None]:
        now = await self._firestore.now()
        limit = max(at_once // self._shards, _MIN_BATCH_SIZE)
        span, start = Span(0), None
        more = True
        while more:
            pages = await self._pages(submitter, query, limit, span, start, False, now)
            # Beyond the last document of a full page, the others may already be further than that shard.
            reached = [query.rank(page[-1]) for page in pages if len(page) == limit]
            documents = list(_merged(query, pages, backward=False))
            more = bool(reached)
            if more and len(pages) > 1:
                last = max(reached) if query.is_descending(backward=False) else min(reached)
                documents = documents[: 1 + next(at for at, each in enumerate(documents) if query.rank(each) == last)]
            if documents:
                start = query.cursor(documents[-1])
                wanted = await keep(documents) if keep else None
                yield documents if wanted is None else [each for each in documents if _id(each) in wanted]

    def _samples_query(
        self,
        submitter: str,
        state: SampleState | None,
        bounds: Sequence[Bound],
        select: Sequence[str] = HEADER_FIELDS,
    ) -> tuple[OrderedQuery, Keep | None]:
        equal = {}
        if state is not None:
            rejected = state is SampleState.REJECTED
            equal["state_on_arrival"] = (Arrival.REJECTED if rejected else Arrival.ACCEPTED).value
        newest_first = Order("submitted_at", descending=True)
        query = OrderedQuery(document_paths.SAMPLES, newest_first, equal=equal, bounds=bounds, select=select)
        if state is None or state is SampleState.REJECTED:
            return query, None
        return query, partial(self._in_state, submitter, state)

    async def _in_state(self, submitter: str, state: SampleState, headers: Sequence[Any]) -> Collection[str]:
        paths = {document_paths.result(submitter, _id(header)): _id(header) for header in headers}
        found = await self._firestore.batch_get(paths, mask=["status"]) if paths else {}
        if state is SampleState.PENDING:
            return set(paths.values()) - {paths[path] for path in found}
        return {paths[path] for path, result in found.items() if result.fields["status"].string_value == state}

    async def _count(self, submitter: str, query: OrderedQuery, read_time: datetime | None = None) -> int:
        parent, collection = self._place(submitter, query)
        if self._shards > 1:
            read_time = read_time or await self._firestore.now()
        messages = [query.message(collection, shard, 0) for shard in range(self._shards)]
        return sum(await asyncio.gather(*(self._firestore.count(parent, each, read_time) for each in messages)))

    async def _pages(
        self,
        submitter: str,
        query: OrderedQuery,
        limit: int,
        span: Span,
        start: Cursor | None,
        inclusive: bool,
        read_time: datetime | None,
    ) -> list[list[Any]]:
        """Return the next `limit` documents of each shard."""
        parent, collection = self._place(submitter, query)
        messages = [
            query.message(
                collection, shard, limit, start=start, inclusive=inclusive, end=span.end, backward=span.backward
            )
            for shard in range(self._shards)
        ]
        return await asyncio.gather(*(self._firestore.documents(parent, message, read_time) for message in messages))

    def _place(self, submitter: str, query: OrderedQuery) -> tuple[str, str]:
        parent = document_paths.submitter(submitter)
        return parent, self._firestore.name(f"{parent}/{query.collection}")


def _results_query(
    order: Order, bounds: Sequence[Bound], select: Sequence[str] = ()
) -> tuple[OrderedQuery, Keep | None]:
    of_median = [] if order.field == "median" else [bound for bound in bounds if bound.field == "median"]
    query = OrderedQuery(
        document_paths.RESULTS,
        order,
        then=INDEXED_FIELDS,
        equal={"status": Status.COMPUTED.value},
        bounds=[bound for bound in bounds if bound not in of_median],
        select=(*select, "median") if select and of_median else select,
    )
    return query, partial(_within, of_median) if of_median else None


async def _within(of_median: Sequence[Bound], results: Sequence[Any]) -> Collection[str]:
    medians = ((_id(each), encoding.from_value(each.fields["median"])) for each in results if "median" in each.fields)
    return {sample_id for sample_id, median in medians if all(bound.contains(median) for bound in of_median)}


def _status_query(status: Status) -> OrderedQuery:
    return OrderedQuery(document_paths.RESULTS, None, equal={"status": status.value})


def _merged(query: OrderedQuery, pages: Sequence[list[Any]], backward: bool) -> Any:
    if len(pages) == 1:
        return pages[0]
    return merge(*pages, key=query.rank, reverse=query.is_descending(backward))


def _in_order(edges: list[Any], span: Span) -> list[Any]:
    return edges[::-1] if span.backward else edges


def _id(document: Any) -> str:
    return str(document.name.rpartition("/")[2])


def shown_header(submitter: str, document: Any) -> Header:
    return Header.shown_from_fields(submitter, _id(document), encoding.from_document(document))


def computed_result(submitter: str, document: Any) -> Result:
    return Result.from_fields(submitter, _id(document), encoding.from_document(document))
