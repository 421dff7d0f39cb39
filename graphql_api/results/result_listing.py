"""Lists of computed results, read as pages, as a count or as a scan.

Firestore leaves a document out of an index if the document lacks a field of the index. Some results lack a statistic,
such as the median. Such a statistic is therefore only in two indexes: one in the order of the statistic, and one in the
order of time. The second one serves queries with a bound on the statistic. In any other order, and for results with
given labels, this module checks the bound after it has read the documents.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.filters import LABEL_ORDER, Bound, Order, Selection
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.pagination import Page, PageRequest
from graphql_api.results.sharded_query import ShardedQuery
from storage.documents import OUTCOMES, BadRequest, Result, Status, document_paths
from storage.documents.statistics import INDEXED_FIELDS
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document

_SCANNED_BATCH_SIZE = 2_000
_LATEST_FIRST = Order("timestamp", descending=True)
_COMPLETE_ORDERS = frozenset({"computed_at", *INDEXED_FIELDS})
"""The fields that every computed result has."""


class ResultListing:
    """Lists the results of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, turns: LoopTurns, *, shards: int) -> None:
        self._firestore = firestore
        self.turns = turns
        self._shards = shards

    async def page(self, submitter: str, selection: Selection, order: Order, request: PageRequest) -> Page[Result]:
        """Return the computed results of `request` that `selection` selects.

        If a bound is checked after reading, a page can have fewer results than requested, even if more results follow.
        """
        page = await self._query(submitter, selection, order).page(request)
        return await page.map(partial(decode_result, submitter), self.turns.of(submitter))

    async def count(self, submitter: str, selection: Selection, order: Order) -> int:
        """Return the number of computed results on all pages in this order.

        An order by a statistic leaves out the results without this statistic.
        """
        if order.field not in _COMPLETE_ORDERS:
            return await self._query(submitter, selection, order).count()
        if selection.is_everything:
            query = results_with([Status.COMPUTED])
            return await ShardedQuery(self._firestore, submitter, self._shards, query).count()
        fields = sorted({bound.field for bound in selection.bounds}, key=lambda field: field in INDEXED_FIELDS)
        counted = LABEL_ORDER if selection.labels else fields[0]  # then Firestore counts a single range of an index
        return await self._query(submitter, selection, Order(counted)).count()

    async def newest(self, submitter: str, selection: Selection) -> Result | None:
        """Return the selected result with the latest time stamp, or None if no result is selected."""
        document = await self._query(submitter, selection, _LATEST_FIRST).first()
        return None if document is None else decode_result(submitter, document)

    async def latest(self, submitter: str, selection: Selection, terms: Sequence[str], size: int) -> list[Document]:
        """Return the `size` latest selected results with one of the label terms, as protocol `Document`s."""
        return await self._query(submitter, selection, _LATEST_FIRST, label_terms=terms).first_documents(size)

    @staticmethod
    def is_indexed(selection: Selection) -> bool:
        """Return whether Firestore checks all bounds in the order of the time stamps."""
        return all(bound.field in INDEXED_FIELDS for bound in selection.bounds)

    def scan(
        self, submitter: str, selection: Selection, order: Order, select: Sequence[str], read_time: datetime
    ) -> AsyncGenerator[list[Document], None]:
        """Yield all computed results that `selection` selects as protocol `Document`s, in order, at `read_time`.

        The documents have the fields in `select` and the fields of the order.
        """
        return self._query(submitter, selection, order, select).scan(_SCANNED_BATCH_SIZE, read_time)

    def scan_encoded(
        self, submitter: str, selection: Selection, order: Order, select: Sequence[str], batch_size: int
    ) -> AsyncGenerator[list[Any], None]:
        """Yield the same documents as `scan`, with one read time and encoded values, about `batch_size` at a time."""
        return self._query(submitter, selection, order, select).scan_encoded(batch_size)

    async def outdated_ids(
        self, submitter: str, version: int, selection: Selection, batch_size: int
    ) -> AsyncGenerator[Sequence[str], None]:
        """Yield the ids of selected results that are older than `version`, up to `batch_size` at a time.

        Each batch has its own read time. A result that is replaced during the scan keeps its position or is skipped.
        A batch can be empty.
        """
        if not selection.is_everything:
            query = self._query(submitter, selection, Order("timestamp"), select=("statistics_version",))
        else:
            ordered = OrderedQuery(
                document_paths.RESULTS,
                Order("statistics_version"),
                then=("computed_at",),
                equal={"status": tuple(each.value for each in OUTCOMES)},
                selection=Selection([Bound("statistics_version", "<", version)]),
                select=("statistics_version",),
            )
            query = ShardedQuery(self._firestore, submitter, self._shards, ordered)
        async with aclosing(query.scan_latest(batch_size)) as batches:
            async for documents in batches:
                yield [
                    document_paths.id_of(document.name)
                    for document in documents
                    if document.fields["statistics_version"].integer_value < version
                ]

    def _query(
        self,
        submitter: str,
        selection: Selection,
        order: Order,
        select: Sequence[str] = (),
        label_terms: Sequence[str] = (),
    ) -> ShardedQuery:
        if selection.labels and order.field != LABEL_ORDER:
            raise BadRequest(
                f"results that are filtered by labels can be ordered only by `{LABEL_ORDER}`, got `{order.field}`; "
                "change the order, or remove the labels"
            )
        indexed = {order.field, *INDEXED_FIELDS}
        nullable = {bound.field for bound in selection.bounds} - indexed
        if order.field == "timestamp" and len(nullable) == 1 and not selection.labels and not label_terms:
            indexed |= nullable
        later_bounds = [bound for bound in selection.bounds if bound.field not in indexed]
        query = OrderedQuery(
            document_paths.RESULTS,
            order,
            then=sorted(indexed),
            equal={"status": Status.COMPUTED.value},
            selection=replace(selection, bounds=[bound for bound in selection.bounds if bound.field in indexed]),
            select=(*select, *(bound.field for bound in later_bounds)) if select else (),
            label_terms=label_terms,
        )
        document_filter = partial(are_within, later_bounds) if later_bounds else None
        return ShardedQuery(self._firestore, submitter, self._shards, query, document_filter)


def results_with(outcomes: Sequence[Status], select: Sequence[str] = ()) -> OrderedQuery:
    """Return a query of all results with these outcomes. Only one index contains all results."""
    order, equal = Order("statistics_version"), {"status": tuple(each.value for each in outcomes)}
    return OrderedQuery(document_paths.RESULTS, order, then=("computed_at",), equal=equal, select=select)


def decode_result(submitter: str, document: Document) -> Result:
    """Return the result in a protocol `Document`."""
    return Result.from_fields(submitter, document_paths.id_of(document.name), encoding.from_document(document))


async def are_within(bounds: Sequence[Bound], documents: Sequence[Document]) -> list[bool]:
    """Return whether each of these protocol `Document`s is within all bounds."""
    return [all(bound.contains(_value(document, bound.field)) for bound in bounds) for document in documents]


def _value(document: Document, field: str) -> object:
    return encoding.field_value(document, field) if field in document.fields else None
