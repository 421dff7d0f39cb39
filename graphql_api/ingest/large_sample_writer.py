"""Writing of large samples: chunks are compressed and written while the sample is validated.

Clients cannot read chunks without a header. If storing a sample fails, this module therefore removes the chunks. It
keeps the chunks if a retry may still need them: a retry with the same idempotency key and the same content writes the
same chunks. `uploads.py` later removes chunks that no retry has used, and chunks of a process that was killed.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

from graphql_api.ingest.fair_executor import FairExecutor, started_threads
from graphql_api.ingest.uploads import ReadHeaders, Uploads
from storage.documents import (
    Conflict,
    ContentKey,
    Identity,
    NotJson,
    RetryLater,
    Sample,
    chunk_count,
    compress_chunk,
)
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.group_commit_writer import GroupCommitWriter

_MAX_CHUNKS_IN_FLIGHT = 12
_HASHER_THREADS = 2

logger = logging.getLogger("graphql_api")


class LargeSampleWriter:
    """Writes the chunks of large samples, and removes the chunks of samples that were not stored."""

    def __init__(
        self, firestore: Firestore, writer: GroupCommitWriter, read_headers: ReadHeaders, validators: FairExecutor
    ) -> None:
        self._firestore = firestore
        self._writer = writer
        self._read_headers = read_headers
        self._validators = validators
        self._uploads = Uploads(firestore, writer, read_headers)
        self._removal_delay_seconds = 2 * writer.timeout_seconds  # after this time, no write of the sample is in flight
        self._tasks: set[asyncio.Task[None]] = set()
        # Leave one processor for the event loop and for the thread that validates the sample.
        self._compressor = started_threads(max(1, (os.cpu_count() or 1) - 1), "compressor")
        self._hashers = started_threads(_HASHER_THREADS, "hasher")
        self._start(self._uploads.sweep_regularly())

    @asynccontextmanager
    async def write_chunks(
        self,
        raw: bytes,
        submitter: str,
        idempotency_key: str | ContentKey | None,
        validate: Callable[[Identity | None], Sample],
        expire_at: datetime | None,
    ) -> AsyncIterator[Sample]:
        """Write the chunks of `raw` and yield the sample from `validate`. The caller then writes the header.

        The chunks expire at `expire_at`, or with the header if a header is stored already.

        If the validation, the write of a chunk, or the caller fails, the error is raised. The chunks are then removed
        after a delay, unless a retry may need them.
        """
        first_chunks = [self._compress(raw, number) for number in range(min(chunk_count(raw), _MAX_CHUNKS_IN_FLIGHT))]
        identity = await asyncio.get_running_loop().run_in_executor(
            self._hashers, Identity.before_parsing, raw, submitter, idempotency_key
        )
        validation = asyncio.create_task(self._validators.run(submitter, partial(validate, identity)))
        if identity is None:  # the sample may contain its idempotency key
            identity = (await validation).identity
        chunks = asyncio.create_task(self._write_chunks(raw, identity, first_chunks, expire_at))
        try:
            sample = await validation
            await chunks
            yield sample
        except BaseException as error:
            chunks.cancel()
            if not identity.has_idempotency_key or isinstance(error, Conflict | NotJson):
                self._start(self._remove_chunks(identity, chunk_count(raw)))
            await asyncio.gather(chunks, return_exceptions=True)
            raise
        self._start(self._end_upload(identity))

    async def close(self) -> None:
        """Cancel all removals. The next process removes the remaining chunks."""
        self._compressor.shutdown(wait=False)
        self._hashers.shutdown(wait=False)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _compress(self, raw: bytes, number: int) -> asyncio.Future[bytes]:
        return asyncio.get_running_loop().run_in_executor(self._compressor, compress_chunk, raw, number)

    async def _write_chunks(
        self,
        raw: bytes,
        identity: Identity,
        first_chunks: Sequence[asyncio.Future[bytes]],
        expire_at: datetime | None,
    ) -> None:
        """Compress and write a limited number of chunks at a time, so that memory does not hold the sample twice."""
        await self._uploads.begin(identity, chunk_count(raw))
        if identity.has_idempotency_key:  # a retry writes the chunks of a stored sample again
            stored = (await self._read_headers(identity.submitter, [identity.id])).get(identity.id)
            if stored is not None and stored.sha256 == identity.sha256:
                expire_at = stored.expire_at
        slots = asyncio.Semaphore(_MAX_CHUNKS_IN_FLIGHT)

        async def write(number: int) -> None:
            try:
                data = await (first_chunks[number] if number < len(first_chunks) else self._compress(raw, number))
                path, chunk = identity.chunk(number, data, expire_at)
                await self._writer.write(encoding.to_write(self._firestore.name(path), chunk), identity.submitter)
            finally:
                slots.release()

        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(chunk_count(raw)):
                    await slots.acquire()
                    tasks.create_task(write(number))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_upload(self, identity: Identity) -> None:
        try:
            await self._uploads.end(identity)
        except (RetryLater, FirestoreError) as error:
            logger.warning(
                "could not remove the record of the upload %s/%s: %s", identity.submitter, identity.id, error
            )

    async def _remove_chunks(self, identity: Identity, count: int) -> None:
        """Remove `count` chunks after a delay, unless a stored header refers to them."""
        await asyncio.sleep(self._removal_delay_seconds)
        try:
            await self._uploads.remove_chunks(identity, count)
        except (RetryLater, FirestoreError) as error:
            logger.warning(
                "could not remove chunks of %s/%s, which has no header: %s", identity.submitter, identity.id, error
            )
