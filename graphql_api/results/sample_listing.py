"""Lists of samples, the newest first, read as pages or as a count.

A header contains only the state on arrival. The state of an accepted sample, PENDING, COMPUTED or FAILED, depends on
its result. If a list is filtered by one of these states, this module reads the result of each sample.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Any

from graphql_api.results.filters import Bound, Order
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.pagination import Page, PageRequest
from graphql_api.results.sharded_query import DocumentFilter, ShardedQuery
from storage.documents import Arrival, Header, SampleState, Status, document_paths
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
"""The fields of a header without the raw document."""

_NEWEST_FIRST = Order("submitted_at", descending=True)


class SampleListing:
    """Lists the samples of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, *, shards: int) -> None:
        self._firestore = firestore
        self._shards = shards

    async def page(
        self, submitter: str, state: SampleState | None, bounds: Sequence[Bound], request: PageRequest
    ) -> Page[Header]:
        """Return the samples of `request` that are in `state` and within `bounds`.

        With the states PENDING, COMPUTED and FAILED, a page can have fewer samples than requested although more samples
        follow.
        """
        page = await self._samples(submitter, state, bounds, HEADER_FIELDS).page(request)
        return page.map(partial(decode_header, submitter))

    async def count(self, submitter: str, state: SampleState | None, bounds: Sequence[Bound]) -> int:
        """Return the number of samples in `state` and within `bounds`.

        If `bounds` are given, each accepted sample within them is read for the states PENDING, COMPUTED and FAILED.
        """
        if bounds or state is None or state is SampleState.REJECTED:
            return await self._samples(submitter, state, bounds, ("shard",)).count()
        read_time = await self._firestore.now()
        if state is not SampleState.PENDING:
            return await self._results(submitter, Status(state.value)).count(read_time)
        accepted = await self._headers(submitter, Arrival.ACCEPTED, bounds, ("shard",)).count(read_time)
        return accepted - sum([await self._results(submitter, status).count(read_time) for status in Status])

    async def pending_ids(
        self, submitter: str, before: datetime, batch_size: int
    ) -> AsyncGenerator[Sequence[str], None]:
        """Yield the ids of PENDING samples that were submitted before a time. A batch can be empty.

        Reads nothing more if a count says that no sample is PENDING.
        """
        if await self.count(submitter, SampleState.PENDING, ()) == 0:
            return
        bounds = (Bound("submitted_at", "<", before),)
        query = self._samples(submitter, SampleState.PENDING, bounds, ("shard",))
        async with aclosing(query.scan_latest(batch_size)) as batches:
            async for documents in batches:
                yield [document.name.rpartition("/")[2] for document in documents]

    def _samples(
        self, submitter: str, state: SampleState | None, bounds: Sequence[Bound], select: Sequence[str]
    ) -> ShardedQuery:
        if state is None:
            return self._headers(submitter, None, bounds, select)
        if state is SampleState.REJECTED:
            return self._headers(submitter, Arrival.REJECTED, bounds, select)
        in_state = partial(self._are_in_state, submitter, state)
        return self._headers(submitter, Arrival.ACCEPTED, bounds, select, in_state)

    def _headers(
        self,
        submitter: str,
        arrival: Arrival | None,
        bounds: Sequence[Bound],
        select: Sequence[str],
        document_filter: DocumentFilter | None = None,
    ) -> ShardedQuery:
        equal = {} if arrival is None else {"state_on_arrival": arrival.value}
        query = OrderedQuery(document_paths.SAMPLES, _NEWEST_FIRST, equal=equal, bounds=bounds, select=select)
        return ShardedQuery(self._firestore, submitter, self._shards, query, document_filter)

    def _results(self, submitter: str, status: Status) -> ShardedQuery:
        query = OrderedQuery(document_paths.RESULTS, None, equal={"status": status.value})
        return ShardedQuery(self._firestore, submitter, self._shards, query)

    async def _are_in_state(self, submitter: str, state: SampleState, headers: Sequence[Any]) -> list[bool]:
        paths = [document_paths.result(submitter, header.name.rpartition("/")[2]) for header in headers]
        results = await self._firestore.batch_get(paths, mask=["status"]) if paths else {}
        if state is SampleState.PENDING:
            return [path not in results for path in paths]
        return [path in results and results[path].fields["status"].string_value == state for path in paths]


def decode_header(submitter: str, document: Any) -> Header:
    """Return the header in a protocol `Document`. Damaged fields have default values."""
    return Header.from_damaged_fields(submitter, document.name.rpartition("/")[2], encoding.from_document(document))
