"""Writing of large samples: chunks are compressed and written while the sample is validated.

Clients cannot read chunks without a header. If storing a sample fails, this module therefore removes
its chunks. It keeps the chunks if a retry with the same idempotency key and the same content may
still need them, because such a retry writes the same chunks.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from storage.documents import (
    Conflict,
    Header,
    Identity,
    NotJson,
    Sample,
    Unavailable,
    chunk_count,
    compress_chunk,
    document_paths,
)
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.group_commit_writer import GroupCommitWriter

_MAX_CHUNKS_IN_FLIGHT = 12

ReadHeaders = Callable[[str, Collection[str]], Awaitable[Mapping[str, Header]]]
"""Returns the stored headers of a submitter by sample id. Ids without a header are omitted."""

logger = logging.getLogger("graphql_api")


class LargeSampleWriter:
    """Writes the chunks of large samples, and removes the chunks of samples that were not stored."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter, read_headers: ReadHeaders) -> None:
        self._firestore = firestore
        self._writer = writer
        self._read_headers = read_headers
        self._removal_delay_seconds = 2 * writer.timeout_seconds  # until no write of the sample is in flight
        self._removals: set[asyncio.Task[None]] = set()
        # Leave one processor for the event loop and for the thread that validates the sample.
        self._compressor = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), "compressor")

    @asynccontextmanager
    async def write_chunks(
        self,
        raw: bytes,
        submitter: str,
        idempotency_key: str | None,
        validate: Callable[[Identity | None], Sample],
    ) -> AsyncIterator[Sample]:
        """Write the chunks of `raw` and yield the sample from `validate`. The caller then writes the header.

        If validation, the write of a chunk, or the caller fails, the error is raised. The chunks are then removed after
        a delay, unless a retry may need them.
        """
        first_chunks = [self._compress(raw, number) for number in range(min(chunk_count(raw), _MAX_CHUNKS_IN_FLIGHT))]
        identity = await asyncio.to_thread(Identity.before_parsing, raw, submitter, idempotency_key)
        validation = asyncio.create_task(asyncio.to_thread(validate, identity))
        if identity is None:  # the sample may contain its idempotency key
            identity = (await validation).identity
        chunks = asyncio.create_task(self._write_chunks(raw, identity, first_chunks))
        try:
            sample = await validation
            await chunks
            yield sample
        except BaseException as error:
            chunks.cancel()
            if not identity.has_idempotency_key or isinstance(error, Conflict | NotJson):
                self._remove_chunks_later(identity, chunk_count(raw))
            await asyncio.gather(chunks, return_exceptions=True)
            raise

    async def close(self) -> None:
        """Cancel all removals."""
        self._compressor.shutdown(wait=False)
        for removal in self._removals:
            removal.cancel()
        await asyncio.gather(*self._removals, return_exceptions=True)

    def _compress(self, raw: bytes, number: int) -> asyncio.Future[bytes]:
        return asyncio.get_running_loop().run_in_executor(self._compressor, compress_chunk, raw, number)

    async def _write_chunks(
        self, raw: bytes, identity: Identity, first_chunks: Sequence[asyncio.Future[bytes]]
    ) -> None:
        """Compress and write a limited number of chunks at a time, so that memory does not hold the sample twice."""
        slots = asyncio.Semaphore(_MAX_CHUNKS_IN_FLIGHT)

        async def write(number: int) -> None:
            try:
                data = await (first_chunks[number] if number < len(first_chunks) else self._compress(raw, number))
                path, chunk = identity.chunk(number, data)
                await self._writer.write(encoding.to_write(self._firestore.name(path), chunk))
            finally:
                slots.release()

        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(chunk_count(raw)):
                    await slots.acquire()
                    tasks.create_task(write(number))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    def _remove_chunks_later(self, identity: Identity, count: int) -> None:
        removal = asyncio.create_task(self._remove_chunks(identity, count))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    async def _remove_chunks(self, identity: Identity, count: int) -> None:
        """Remove `count` chunks after a delay, unless a stored header refers to them."""
        await asyncio.sleep(self._removal_delay_seconds)
        submitter, sample_id, digest = identity.submitter, identity.id, identity.sha256
        try:
            header = (await self._read_headers(submitter, [sample_id])).get(sample_id)
            if header is not None and header.sha256 == digest:
                return
            for number in range(count):
                path = document_paths.chunk(submitter, sample_id, digest, number)
                await self._writer.write(encoding.to_delete(self._firestore.name(path)))
        except (Unavailable, FirestoreError) as error:
            logger.warning("could not remove chunks of %s/%s, which has no header: %s", submitter, sample_id, error)
