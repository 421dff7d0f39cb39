"""Writing of large samples: chunks are compressed and written while the sample is validated.

Clients cannot read chunks without a header. If storing a sample fails, or if the sample was stored before, this module
therefore removes the chunks. `uploads.py` later removes the chunks of a process that was killed.
"""

import asyncio
import logging
import os
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

from graphql_api.ingest.fair_executor import FairExecutor, started_threads
from graphql_api.ingest.uploads import ReadHeaders, Uploads
from storage.documents import (
    ContentKey,
    RetryLater,
    Sample,
    SampleIdentity,
    Upload,
    chunk_count,
    chunk_fields,
    compress_chunk,
)
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

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
        *,
        validate: Callable[[SampleIdentity | None], Sample],
        check: Callable[[SampleIdentity], Awaitable[None]] | None,
        expire_at: datetime | None,
    ) -> AsyncIterator[Sample]:
        """Write the chunks of `raw` and yield the sample from `validate`. The caller then stores the header.

        The Commit of the header must also end the upload (see `uploads.py`).

        `validate` runs in a thread. It gets the identity of the sample, or None if the sample may contain its own
        idempotency key. If `check` raises an error, no chunk is written. The chunks expire at `expire_at`. The header
        that the caller stores must expire at the same time.

        If the validation, the write of a chunk, or the caller fails, the error is raised. The chunks are then removed
        after a delay, unless the header was stored.
        """
        first_chunks = [self._compress(raw, number) for number in range(min(chunk_count(raw), _MAX_CHUNKS_IN_FLIGHT))]
        identity = await asyncio.get_running_loop().run_in_executor(
            self._hashers, SampleIdentity.before_parsing, raw, submitter, idempotency_key
        )
        validation = asyncio.create_task(self._validators.run(submitter, partial(validate, identity)))
        chunks: asyncio.Task[None] | None = None
        try:
            if identity is None:  # the sample may contain its idempotency key
                identity = (await validation).identity
            if check is not None:
                await check(identity)
            upload = Upload(submitter, identity.id, chunk_count(raw))
            chunks = asyncio.create_task(self._write_chunks(raw, upload, first_chunks, expire_at))
            sample = await validation
            sample.header.upload_id = upload.id
            await chunks
            yield sample
        except BaseException:
            if chunks is None:
                await asyncio.gather(validation, return_exceptions=True)  # its thread uses `raw`
            else:
                self._start(self._remove_chunks(upload, self._removal_delay_seconds))
                await _cancel(chunks)
            raise
        finally:
            del validation, chunks  # the errors of the tasks refer to this frame, which holds `raw`
        if identity.has_idempotency_key:  # a sample of an earlier request can be stored, which has other chunks
            self._start(self._remove_chunks(upload))

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
        upload: Upload,
        first_chunks: Sequence[asyncio.Future[bytes]],
        expire_at: datetime | None,
    ) -> None:
        """Compress and write a limited number of chunks at a time, so that memory does not hold the sample twice."""
        await self._uploads.begin(upload)
        slots = asyncio.Semaphore(_MAX_CHUNKS_IN_FLIGHT)

        async def write(number: int) -> None:
            try:
                data = await (first_chunks[number] if number < len(first_chunks) else self._compress(raw, number))
                name = self._firestore.name(upload.chunk_path(number))
                await self._writer.write(encoding.to_write(name, chunk_fields(data, expire_at)), upload.submitter)
            finally:
                slots.release()

        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(upload.chunks):
                    await slots.acquire()
                    tasks.create_task(write(number))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _remove_chunks(self, upload: Upload, delay_seconds: float = 0) -> None:
        """Remove the chunks after a delay, unless the stored header refers to them."""
        await asyncio.sleep(delay_seconds)
        try:
            await self._uploads.remove_chunks(upload)
        except (RetryLater, FirestoreError) as error:
            logger.warning("could not remove unused chunks of %s/%s: %s", upload.submitter, upload.sample_id, error)


async def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait until it has ended. Free what the frames of its error hold.

    The frame of a `TaskGroup` refers to the group, the group to the task, the task to the error, and the error to the
    frame.
    """
    task.cancel()
    await asyncio.wait([task])
    try:
        task.result()
    except BaseException as error:  # noqa: BLE001 - the caller raises the error that made it cancel the task
        traceback.clear_frames(error.__traceback__)
