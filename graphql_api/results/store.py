"""The stored samples and results of a submitter, read by id or as lists."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from functools import partial

from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.archived_results import ArchivedResults
from graphql_api.results.result_listing import ResultListing, decode_result
from graphql_api.results.rolled_up_results import RolledUpResults
from graphql_api.results.sample_listing import HEADER_FIELDS, SampleListing, decode_header
from graphql_api.results.series_listing import SeriesListing
from storage.documents import FailedAttempts, Header, InvalidSample, NotFound, Result, document_paths, has_expired
from storage.firestore import encoding
from storage.firestore.client import Firestore


class Store:
    """Reads the documents of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, turns: LoopTurns, *, shards: int) -> None:
        self._firestore = firestore
        self._turns = turns
        self.result_listing = ResultListing(firestore, turns, shards=shards)
        self.archived_results = ArchivedResults(firestore)
        self.series_listing = SeriesListing(firestore, self.result_listing)
        self.rolled_up_results = RolledUpResults(firestore, self.result_listing, self.series_listing, shards=shards)
        self.sample_listing = SampleListing(firestore, turns, shards=shards)

    async def headers(self, submitter: str, ids: Collection[str]) -> Mapping[str, Header]:
        """Return the existing headers of `ids`, by id, without raw documents."""
        paths = {
            document_paths.sample(submitter, sample_id): sample_id
            for sample_id in ids
            if document_paths.is_uuid(sample_id)
        }
        documents = await self._firestore.batch_get_page(paths, mask=HEADER_FIELDS)
        decoded = await self._turns.of(submitter).map(partial(decode_header, submitter), documents.values())
        return dict(zip(map(paths.__getitem__, documents), decoded, strict=True))

    async def has_expired(self, header: Header) -> bool:
        """Return whether a sample has expired. Firestore deletes it later."""
        return header.expire_at is not None and has_expired(header.expire_at, await self._firestore.estimated_now())

    async def seconds_to_expiry(self, header: Header) -> float | None:
        """Return the number of seconds until a sample expires, or None if it never expires."""
        if header.expire_at is None:
            return None
        return (header.expire_at - await self._firestore.estimated_now()).total_seconds()

    async def results(self, submitter: str, ids: Collection[str]) -> Mapping[str, Result]:
        """Return the existing results of `ids`, by id. A tombstone is a result with the status DELETED."""
        paths = {
            document_paths.result(submitter, sample_id): sample_id
            for sample_id in ids
            if document_paths.is_uuid(sample_id)
        }
        documents = await self._firestore.batch_get_page(paths)
        decoded = await self._turns.of(submitter).map(partial(decode_result, submitter), documents.values())
        return dict(zip(map(paths.__getitem__, documents), decoded, strict=True))

    async def failed_attempts(self, submitter: str, ids: Collection[str]) -> Mapping[str, FailedAttempts]:
        """Return the failed attempts to compute samples, by id. Most samples have none."""
        paths = {document_paths.failed_attempts(submitter, sample_id): sample_id for sample_id in ids}
        documents = await self._firestore.batch_get_page(paths)
        return {
            paths[path]: FailedAttempts.from_fields(
                encoding.from_document(document), encoding.to_datetime(document.update_time)
            )
            for path, document in documents.items()
        }

    async def raw(
        self, submitter: str, sample_id: str, reserve: Callable[[int], Awaitable[None]] | None = None
    ) -> tuple[Header, bytes]:
        """Return a sample's header and its raw document, byte for byte.

        Raises `NotFound` if no sample has this id, or if Firestore has deleted chunks of a sample that has expired.
        `reserve` is awaited with the size of the raw document before it is read, and may raise.
        """
        path = document_paths.sample(submitter, sample_id)
        documents = await self._firestore.batch_get([path]) if document_paths.is_uuid(sample_id) else {}
        if path not in documents:
            raise NotFound("the sample does not exist")
        header = decode_header(submitter, documents[path])
        if reserve is not None:
            await reserve(header.byte_count)
        chunks = [chunk async for chunk in self._chunks(header)]
        try:
            return header, await asyncio.to_thread(header.assemble, chunks) if chunks else header.assemble(chunks)
        except InvalidSample:
            current = (await self.headers(submitter, [sample_id])).get(sample_id)
            if current is not None and current.upload_id == header.upload_id:
                if await self.has_expired(current):  # Firestore deletes each document of the sample separately
                    raise NotFound("the sample with this id has expired") from None
                raise
        return await self.raw(submitter, sample_id, reserve)  # its chunks were deleted while they were read

    async def _chunks(self, header: Header) -> AsyncIterator[bytes]:
        for path in header.chunk_paths():
            documents = await self._firestore.batch_get([path])
            if path in documents:
                yield documents[path].fields["data"].bytes_value
