"""Firestore, as the API needs it: add a sample, get documents by id, list them in pages."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any

from documents import Arrival, Conflict, Header, NotFound, Result, Sample, SampleState, Status, fields, names
from graphql_api.firestore import Firestore
from graphql_api.pages import Bound, Cursor, Order, Page
from graphql_api.structured_query import OrderedQuery, StructuredQuery
from graphql_api.writer import AlreadyExists, Writer

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
RANGED_FIELDS = ("count", "mean", "standard_deviation", "timestamp")
"""What results can be filtered by; each order of results is decided by all of them in the end."""

Place = tuple[datetime, str]
"""Where a result stands in the order of writes: the time of the write, then the id of the sample."""

_SCANNED_AT_ONCE = 200
_MOST_SCANNED = 2_000


@dataclass(frozen=True, slots=True)
class Written:
    """A result and the time at which it was written."""

    at: datetime
    result: Result

    @classmethod
    def from_document(cls, submitter: str, document: Any) -> "Written":
        """Return what the protocol `Document` of a result says."""
        sample_id = document.name.rpartition("/")[2]
        result = Result.from_fields(submitter, sample_id, fields.from_document(document))
        return cls(fields.to_datetime(document.update_time), result)

    def place(self) -> Place:
        """Return where the result stands in the order of writes."""
        return self.at, self.result.sample_id


class Store:
    """Every method takes the submitter that the credential stands for and touches no other's documents."""

    def __init__(self, firestore: Firestore, writer: Writer, *, shards: int = 1) -> None:
        self._firestore = firestore
        self._writer = writer
        self._shards = shards

    async def add(self, sample: Sample) -> Header:
        """Store `sample` and return its header with the time of the write, once Firestore has committed it.

        A sample with the id and content of one that is there is that one: its header is returned.
        Raises `Conflict` where the content differs, and `Unavailable` where Firestore has not confirmed.
        """
        documents = sample.documents()
        try:
            async with asyncio.TaskGroup() as chunks:
                for _ in range(sample.header.chunks):
                    path, chunk = await asyncio.to_thread(next, documents)
                    chunks.create_task(self._writer.write(fields.to_write(self._firestore.name(path), chunk)))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        path, header = next(documents)
        write = fields.to_write(self._firestore.name(path), header)
        write.current_document.exists = False
        try:
            written = await self._writer.write(write)
        except AlreadyExists:
            return await self._stored_before(sample)
        return sample.header.submitted(fields.to_datetime(written.transform_results[0].timestamp_value))

    async def headers(self, submitter: str, ids: Collection[str]) -> Mapping[str, Header]:
        """Return the headers that there are among `ids`, without their raw documents."""
        paths = {names.sample(submitter, sample_id): sample_id for sample_id in ids if names.is_sample_id(sample_id)}
        found = await self._firestore.batch_get(paths, mask=HEADER_FIELDS) if paths else {}
        return {paths[path]: _header(submitter, paths[path], document) for path, document in found.items()}

    async def results(self, submitter: str, ids: Collection[str]) -> Mapping[str, Result]:
        """Return the results that there are among `ids`, COMPUTED and FAILED."""
        paths = {names.result(submitter, sample_id): sample_id for sample_id in ids if names.is_sample_id(sample_id)}
        found = await self._firestore.batch_get(paths) if paths else {}
        return {
            paths[path]: Result.from_fields(submitter, paths[path], fields.from_document(document))
            for path, document in found.items()
        }

    async def raw(self, submitter: str, sample_id: str) -> tuple[Header, bytes]:
        """Return a sample's header and its raw document, byte for byte. Raises `NotFound`."""
        path = names.sample(submitter, sample_id)
        found = await self._firestore.batch_get([path]) if names.is_sample_id(sample_id) else {}
        if path not in found:
            raise NotFound("there is no such sample")
        header = _header(submitter, sample_id, found[path])
        chunks = [chunk async for chunk in self._chunks(header)]
        return header, await asyncio.to_thread(header.assemble, chunks) if chunks else header.assemble(chunks)

    async def list_results(
        self, submitter: str, bounds: Sequence[Bound], order: Order, first: int, after: Cursor | None
    ) -> Page[Result]:
        """Return the next `first` computed results that are within `bounds`."""
        query = _results_query(order, bounds)
        documents = await self._page(submitter, query, first + 1, after)
        edges = [(query.cursor(each), Written.from_document(submitter, each).result) for each in documents[:first]]
        return Page(edges, has_next=len(documents) > first)

    async def results_written_after(self, submitter: str, place: Place) -> AsyncGenerator[Written, None]:
        """Yield the computed results written after `place`, in the order of `Place`.

        The query is in the order of the server time that documents hold, which is cut to milliseconds
        in the cloud; so results of the same millisecond are put in order here.
        """
        since = place[0].replace(microsecond=place[0].microsecond // 1000 * 1000)
        query = _results_query(Order("computed_at"), [Bound("computed_at", ">=", since)])
        together: list[Written] = []
        after: Cursor | None = None
        documents: list[Any] = []
        while after is None or len(documents) == _SCANNED_AT_ONCE:
            documents = await self._page(submitter, query, _SCANNED_AT_ONCE, after)
            for document in documents:
                written = Written.from_document(submitter, document)
                if together and written.result.computed_at != together[0].result.computed_at:
                    for earlier in sorted(together, key=Written.place):
                        yield earlier
                    together = []
                if written.place() > place:
                    together.append(written)
                after = query.cursor(document)
            if after is None:
                return
        for last in sorted(together, key=Written.place):
            yield last

    async def list_samples(
        self, submitter: str, state: SampleState | None, bounds: Sequence[Bound], first: int, after: Cursor | None
    ) -> Page[Header]:
        """Return the next `first` samples, the newest first.

        PENDING, COMPUTED and FAILED are not stored in the header, so the results decide; after
        `_MOST_SCANNED` samples a page ends even if it is not full, and `end` says where to go on.
        """
        query = _samples_query(state, bounds)
        edges: list[tuple[Cursor, Header]] = []
        scanned = 0
        while scanned < _MOST_SCANNED:
            limit = first + 1 - len(edges) if state in (None, SampleState.REJECTED) else _SCANNED_AT_ONCE
            documents = await self._page(submitter, query, limit, after)
            ids = [document.name.rpartition("/")[2] for document in documents]
            wanted = await self._in_state(submitter, state, ids)
            for document, sample_id in zip(documents, ids, strict=True):
                if sample_id in wanted:
                    if len(edges) == first:
                        return Page(edges, has_next=True, end=after)
                    edges.append((query.cursor(document), _header(submitter, sample_id, document)))
                after = query.cursor(document)
            if len(documents) < limit:
                return Page(edges, has_next=False, end=after)
            scanned += len(documents)
        return Page(edges, has_next=True, end=after)

    async def api_key(self, digest: str) -> Mapping[str, object] | None:
        """Return the fields of the API key whose SHA-256 is `digest`."""
        path = names.api_key(digest)
        found = await self._firestore.batch_get([path])
        return fields.from_document(found[path]) if path in found else None

    async def api_keys(self) -> Mapping[str, Mapping[str, object]]:
        """Return the fields of all API keys by the SHA-256 of each."""
        query = StructuredQuery()
        query.from_.add(collection_id=names.API_KEYS)
        keys = await self._documents("", query)
        return {key.name.rpartition("/")[2]: fields.from_document(key) for key in keys}

    async def put_api_key(self, digest: str, key: Mapping[str, object]) -> None:
        """Store an API key by the SHA-256 of it, in place of what was stored under it."""
        await self._writer.write(fields.to_write(self._firestore.name(names.api_key(digest)), key))

    async def _stored_before(self, sample: Sample) -> Header:
        header = sample.header
        there = (await self.headers(header.submitter, [header.id])).get(header.id)
        if there is None or there.sha256 != header.sha256:
            raise Conflict("this idempotency key was used for another sample; use a new key for a new sample")
        return there

    async def _in_state(self, submitter: str, state: SampleState | None, ids: Sequence[str]) -> Collection[str]:
        if state in (None, SampleState.REJECTED):
            return ids
        paths = {names.result(submitter, sample_id): sample_id for sample_id in ids}
        found = await self._firestore.batch_get(paths, mask=["status"]) if paths else {}
        if state is SampleState.PENDING:
            return set(ids) - {paths[path] for path in found}
        return {paths[path] for path, result in found.items() if result.fields["status"].string_value == state}

    async def _page(self, submitter: str, query: OrderedQuery, limit: int, after: Cursor | None) -> list[Any]:
        """Return the next `limit` documents of all shards in the order of `query`."""
        parent = names.submitter(submitter)
        collection = self._firestore.name(f"{parent}/{query.collection}")
        messages = [query.message(collection, shard, limit, after) for shard in range(self._shards)]
        # Shards read at different moments would be no page: what one of them has not yet, another has gone past.
        read_time = None if self._shards == 1 else await self._firestore.now()
        pages = await asyncio.gather(*(self._documents(parent, message, read_time) for message in messages))
        return list(islice(merge(*pages, key=query.rank, reverse=query.descending), limit))

    async def _documents(self, parent: str, message: Any, read_time: datetime | None = None) -> list[Any]:
        answers = self._firestore.run_query(parent, message, read_time)
        return [answer.document async for answer in answers if answer.HasField("document")]

    async def _chunks(self, header: Header) -> AsyncIterator[bytes]:
        for number in range(header.chunks):
            path = names.chunk(header.submitter, header.id, header.sha256, number)
            found = await self._firestore.batch_get([path])
            if path in found:
                yield found[path].fields["data"].bytes_value


def _results_query(order: Order, bounds: Sequence[Bound]) -> OrderedQuery:
    return OrderedQuery(
        names.RESULTS, order, then=RANGED_FIELDS, equal={"status": Status.COMPUTED.value}, bounds=bounds
    )


def _samples_query(state: SampleState | None, bounds: Sequence[Bound]) -> OrderedQuery:
    equal = {}
    if state is not None:
        rejected = state is SampleState.REJECTED
        equal["state_on_arrival"] = (Arrival.REJECTED if rejected else Arrival.ACCEPTED).value
    newest_first = Order("submitted_at", descending=True)
    return OrderedQuery(names.SAMPLES, newest_first, equal=equal, bounds=bounds, select=HEADER_FIELDS)


def _header(submitter: str, sample_id: str, document: Any) -> Header:
    return Header.from_fields(submitter, sample_id, fields.from_document(document))
