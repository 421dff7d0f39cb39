"""Lists of samples, the newest first, read as pages or as a count.

A header contains only the state on arrival: ACCEPTED or REJECTED. The state of an accepted sample, such as COMPUTED,
depends on its result. FAILED and SUPERSEDED samples are rare, so they are found by their results. To find PENDING and
COMPUTED samples, this module reads the result of each sample. Each index of samples contains the state on arrival. The
query of all samples therefore selects both states.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from functools import partial

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.filters import EVERYTHING, Bound, Selection
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.outcomes import NEWEST_FIRST, RARE_OUTCOMES, belongs_to, rare_outcomes, results_by_submission
from graphql_api.results.pagination import Page, PageRequest
from graphql_api.results.result_listing import results_with
from graphql_api.results.sharded_query import DocumentFilter, ShardedQuery
from graphql_api.results.state_counts import StateCounts
from storage.documents import OUTCOMES, Arrival, Header, SampleState, Status, document_paths, state_of
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document

HEADER_FIELDS = (
    "state_on_arrival",
    "problems",
    "submitted_at",
    "recompute_requested_at",
    "time_stamp",
    "time_zone",
    "count",
    "bytes",
    "sha256",
    "chunks",
    "upload_id",
    "shard",
    "labels",
    "superseded_by",
    "superseded_at",
    "supersedes",
    "submitted_by",
    "missing_count",
    "expire_at",
)
"""The fields of a header without the raw document."""


class SampleListing:
    """Lists the samples of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, turns: LoopTurns, *, shards: int) -> None:
        self._firestore = firestore
        self._turns = turns
        self._shards = shards
        self._state_counts = StateCounts(firestore, shards=shards)

    async def page(
        self, submitter: str, state: SampleState | None, selection: Selection, request: PageRequest
    ) -> Page[Header]:
        """Return the samples of `request` that are in `state` and that `selection` selects.

        With a state other than REJECTED, a page can have fewer samples than requested, even if more samples follow.
        """
        if (outcome := await self._rare_outcome(submitter, state)) is None:
            page = await self._samples(submitter, state, selection, HEADER_FIELDS).page(request)
        else:
            page = await self._rare_page(submitter, outcome, selection, request)
        return await page.map(partial(decode_header, submitter), self._turns.of(submitter))

    async def count(self, submitter: str, state: SampleState | None, selection: Selection) -> int:
        """Return the number of samples in `state` that `selection` selects.

        Firestore counts the samples, except in these cases:

        - DELETED samples are read.
        - If samples have expired before earlier samples, the SUPERSEDED and FAILED results are read, or all samples.
        - If results lack the time of submission, all samples are read.
        """
        if state is not None and (state is SampleState.PENDING or state.value in OUTCOMES):
            counted = await self._state_counts.count(submitter, state, selection)
            if counted is not None:
                return max(0, counted)
        return await self._samples(submitter, state, selection, ("shard",)).count()

    async def ids(
        self, submitter: str, state: SampleState | None, selection: Selection, batch_size: int
    ) -> AsyncGenerator[Sequence[str], None]:
        """Yield the ids of samples in `state` that `selection` selects, the newest first. A batch can be empty.

        Each batch has its own read time.
        """
        if (outcome := await self._rare_outcome(submitter, state)) is None:
            query = self._samples(submitter, state, selection, ("shard",))
        else:
            query = rare_outcomes(self._firestore, submitter, self._shards, outcome, selection)
        async with aclosing(query.scan_latest(batch_size)) as batches:
            async for documents in batches:
                yield [document_paths.id_of(document.name) for document in documents]

    async def kept_result_ids(
        self, submitter: str, state: SampleState | None, selection: Selection, until: datetime, batch_size: int
    ) -> AsyncGenerator[Sequence[str], None]:
        """Yield the ids of results in `state` whose samples have expired, and were submitted until a time.

        Results of earlier releases, which lack the time of submission, are found by their state only. A batch can be
        empty.
        """
        outcomes = [each for each in OUTCOMES if state is None or each.value == state.value]
        if not outcomes:
            return
        earlier = replace(selection, bounds=[*selection.bounds, Bound("submitted_at", "<=", until)])
        select = ("status", "submitted_at", "sample_update_time")
        if selection.is_everything:
            query = results_with(outcomes, select)
        else:
            query = results_by_submission(earlier, outcomes, select)
        async with aclosing(self._query(submitter, query).scan_latest(batch_size)) as batches:
            async for documents in batches:
                selected = [
                    document
                    for document in documents
                    if "submitted_at" not in document.fields or encoding.field_time(document, "submitted_at") <= until
                ]
                yield await self._without_sample(submitter, selected)

    async def _without_sample(self, submitter: str, results: Sequence[Document]) -> list[str]:
        """Return the ids of the results whose samples do not exist. Other samples can have their ids."""
        paths = {document_paths.sample(submitter, document_paths.id_of(result.name)): result for result in results}
        headers = await self._firestore.batch_get_page(paths, mask=("state_on_arrival", "submitted_at"))
        return [
            document_paths.id_of(path) for path, result in paths.items() if outlives_sample(result, headers.get(path))
        ]

    async def pending_ids(
        self, submitter: str, before: datetime, batch_size: int
    ) -> AsyncGenerator[Sequence[str], None]:
        """Yield the ids of PENDING samples that were submitted before a time. A batch can be empty.

        First counts the PENDING samples, and reads no samples if there are none. If samples expire, the number can be
        wrong, so all samples are read.
        """
        counted = await self._state_counts.count(submitter, SampleState.PENDING, EVERYTHING)
        if counted == 0 and not await self._state_counts.may_expire(submitter):
            return
        earlier = Selection([Bound("submitted_at", "<", before)])
        async with aclosing(self.ids(submitter, SampleState.PENDING, earlier, batch_size)) as batches:
            async for ids in batches:
                yield ids

    async def _rare_outcome(self, submitter: str, state: SampleState | None) -> Status | None:
        """Return the outcome of the samples in `state` if they can be found by their results."""
        if state is None or state.value not in RARE_OUTCOMES:
            return None
        outcome = Status(state.value)
        return outcome if await self._state_counts.are_timed(submitter, [outcome]) else None

    async def _rare_page(
        self, submitter: str, outcome: Status, selection: Selection, request: PageRequest
    ) -> Page[Document]:
        headers: dict[str, Document] = {}
        query = rare_outcomes(
            self._firestore, submitter, self._shards, outcome, selection, mask=HEADER_FIELDS, headers=headers
        )
        page = await query.page(request)
        edges = [(cursor, headers[document_paths.sample(submitter, cursor.id)]) for cursor, _ in page.edges]
        return replace(page, edges=edges)

    def _samples(
        self, submitter: str, state: SampleState | None, selection: Selection, select: Sequence[str]
    ) -> ShardedQuery:
        if state is None:
            return self._headers(submitter, None, selection, select)
        if state is SampleState.REJECTED:
            return self._headers(submitter, Arrival.REJECTED, selection, select)
        in_state = partial(self._are_in_state, submitter, state)
        return self._headers(submitter, Arrival.ACCEPTED, selection, ("expire_at", *select), in_state)

    def _headers(
        self,
        submitter: str,
        arrival: Arrival | None,
        selection: Selection,
        select: Sequence[str],
        document_filter: DocumentFilter | None = None,
    ) -> ShardedQuery:
        states = tuple(each.value for each in Arrival) if arrival is None else arrival.value
        equal = {"state_on_arrival": states}
        query = OrderedQuery(document_paths.SAMPLES, NEWEST_FIRST, equal=equal, selection=selection, select=select)
        return ShardedQuery(self._firestore, submitter, self._shards, query, document_filter)

    def _query(
        self, submitter: str, query: OrderedQuery, document_filter: DocumentFilter | None = None
    ) -> ShardedQuery:
        return ShardedQuery(self._firestore, submitter, self._shards, query, document_filter)

    async def _are_in_state(self, submitter: str, state: SampleState, headers: Sequence[Document]) -> list[bool]:
        """Return whether each of these accepted samples is in a state."""
        paths = [document_paths.result(submitter, document_paths.id_of(header.name)) for header in headers]
        results = await self._firestore.batch_get_page(paths, mask=("status", "sample_update_time", "submitted_at"))
        has_expiry = any("expire_at" in header.fields for header in headers)
        now = await self._firestore.estimated_now() if has_expiry else None
        return [_state(header, results.get(path), now) == state for header, path in zip(headers, paths, strict=True)]


def outlives_sample(result: Document, header: Document | None) -> bool:
    """Return whether a result is kept longer than its sample.

    `header` is the header with the same id. It is None if none exists. It can belong to a later sample with the same
    idempotency key. A REJECTED sample has no result.
    """
    if header is None or header.fields["state_on_arrival"].string_value == Arrival.REJECTED.value:
        return True
    return not belongs_to(result, header)


def decode_header(submitter: str, document: Document) -> Header:
    """Return the header in a protocol `Document`. Damaged fields have default values."""
    return Header.from_damaged_fields(submitter, document_paths.id_of(document.name), encoding.from_document(document))


def _state(header: Document, result: Document | None, now: datetime | None) -> str:
    """Return the state of an accepted sample. `result` is None if it has no result, and `now` if it never expires."""
    if result is not None and belongs_to(result, header):
        return str(result.fields["status"].string_value)
    has_expired = now is not None and encoding.is_expired(header, now)
    return state_of(Arrival.ACCEPTED, has_expired=has_expired)
