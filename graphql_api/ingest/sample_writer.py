"""How samples are stored: chunks first and the header last, many samples with as few calls as can be.

A header has the precondition that there is none yet. Where there is one, it is of the same submission, sent
again, or of another one with the same idempotency key. The trap: chunks whose header did not come are rubbish,
but those of a sample with a key may belong to a retry that is under way, under the same names; so they are removed
only where nobody else can want them.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from storage.documents import (
    Conflict,
    DropzoneError,
    Header,
    Identity,
    NotJson,
    Sample,
    chunk_count,
    compress_chunk,
    document_paths,
)
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, PreconditionFailed
from storage.firestore.group_commit_writer import GroupCommitWriter

_CHUNKS_UNDER_WAY = 12

ReadHeaders = Callable[[str, Collection[str]], Awaitable[Mapping[str, Header]]]
Outcome = Header | Exception

logger = logging.getLogger("graphql_api")


class SampleWriter:
    """Stores samples under the submitters that their headers name."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter, read_headers: ReadHeaders) -> None:
        self._firestore = firestore
        self._writer = writer
        self._read_headers = read_headers
        self._grace_seconds = 2 * writer.timeout_seconds
        self._removals: set[asyncio.Task[None]] = set()
        # One processor is left to the event loop, and to the thread that reads while it lets go of the interpreter.
        self._compressing = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), "compressing")

    async def add(self, samples: Sequence[Sample]) -> list[Outcome]:
        """Store samples without chunks; return the header of each, with its time, once Firestore has committed it.

        A sample with the id and content of one that is there is that one: its header is returned. In place of a
        header stands `Conflict` where the content differs, and `Unavailable` where Firestore has not confirmed.
        """
        outcomes: list[Outcome] = []
        written = await self._writer.write_all([self._header_write(sample) for sample in samples])
        for sample, result in zip(samples, written, strict=True):
            if isinstance(result, Exception):
                outcomes.append(result)
            else:
                sample.header.submitted_at = encoding.to_datetime(result.transform_results[0].timestamp_value)
                outcomes.append(sample.header)
        if any(isinstance(outcome, PreconditionFailed) for outcome in outcomes):
            return await self._stored_before(samples, outcomes)
        return outcomes

    async def add_large(self, raw: bytes, identifying: Awaitable[Identity], reading: Awaitable[Sample]) -> Header:
        """Store `raw` in chunks while it is read, then its header. Raises what `add` would return in its place.

        Its first chunks are compressed while it is identified, which takes about as long.
        """
        begun = [self._compress(raw, number) for number in range(min(chunk_count(raw), _CHUNKS_UNDER_WAY))]
        identity = await identifying
        writing = asyncio.create_task(self._write_chunks(raw, identity, begun))
        try:
            sample = await reading
            await writing
            (outcome,) = await self.add([sample])
        except BaseException as error:
            writing.cancel()
            self._remove_chunks(identity, chunk_count(raw), error)
            await asyncio.wait([writing])
            raise
        if isinstance(outcome, Exception):
            self._remove_chunks(identity, chunk_count(raw), outcome)
            raise outcome
        return outcome

    async def close(self) -> None:
        """Leave what waits for its removal."""
        self._compressing.shutdown(wait=False)
        for removal in self._removals:
            removal.cancel()
        if self._removals:
            await asyncio.wait(self._removals)

    async def _stored_before(self, samples: Sequence[Sample], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Resolve what is there already, by one read for all."""
        asked = [each.header for each, outcome in zip(samples, outcomes, strict=True) if _is_there(outcome)]
        try:
            there = await self._read_headers(asked[0].submitter, {header.id for header in asked})
        except Exception as error:  # noqa: BLE001 - it is what came of those that had to be read
            return [error if _is_there(outcome) else outcome for outcome in outcomes]
        return [
            _same(sample.header, there.get(sample.header.id)) if _is_there(outcome) else outcome
            for sample, outcome in zip(samples, outcomes, strict=True)
        ]

    def _header_write(self, sample: Sample) -> Any:
        path, header = sample.document()
        write = encoding.to_write(self._firestore.name(path), header)
        write.current_document.exists = False
        return write

    def _compress(self, raw: bytes, number: int) -> asyncio.Future[bytes]:
        return asyncio.get_running_loop().run_in_executor(self._compressing, compress_chunk, raw, number)

    async def _write_chunks(self, raw: bytes, identity: Identity, begun: Sequence[asyncio.Future[bytes]]) -> None:
        """Compress and write some chunks at a time: all of them would be in memory twice."""
        under_way = asyncio.Semaphore(_CHUNKS_UNDER_WAY)

        async def write(number: int) -> None:
            try:
                data = await (begun[number] if number < len(begun) else self._compress(raw, number))
                path, chunk = identity.chunk(number, data)
                await self._writer.write(encoding.to_write(self._firestore.name(path), chunk))
            finally:
                under_way.release()

        try:
            async with asyncio.TaskGroup() as writing:
                for number in range(chunk_count(raw)):
                    await under_way.acquire()
                    writing.create_task(write(number))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    def _remove_chunks(self, identity: Identity, chunks: int, error: BaseException) -> None:
        if identity.keyed and not isinstance(error, Conflict | NotJson):
            return  # a retry may be under way, and would miss them; the same bytes come to the same refusal
        removal = asyncio.create_task(self._remove_chunks_later(identity, chunks))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    async def _remove_chunks_later(self, identity: Identity, chunks: int) -> None:
        """Remove the chunks unless they are of a stored sample, once no write can be under way any more."""
        await asyncio.sleep(self._grace_seconds)
        submitter, sample_id, digest = identity.submitter, identity.id, identity.sha256
        try:
            there = (await self._read_headers(submitter, [sample_id])).get(sample_id)
            if there is not None and there.sha256 == digest:
                return
            for number in range(chunks):
                path = document_paths.chunk(submitter, sample_id, digest, number)
                await self._writer.write(encoding.to_delete(self._firestore.name(path)))
        except (DropzoneError, FirestoreError) as error:
            logger.warning("chunks of %s/%s have no header, and stay: %s", submitter, sample_id, error)


def _is_there(outcome: Outcome) -> bool:
    return isinstance(outcome, PreconditionFailed)


def _same(header: Header, there: Header | None) -> Outcome:
    if there is None or there.sha256 != header.sha256:
        return Conflict("this idempotency key was used for another sample; use a new key for a new sample")
    return there
