"""The receiver: validates and stores the samples of every endpoint.

A small sample is validated on the event loop and stored as one document, its header. Small samples
that arrive together are written with one call of `write_all`. A large sample is validated in a thread
and stored in chunks. Its header is written last.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from graphql_api import metrics
from graphql_api.budgets.memory_budget import MemoryBudget
from graphql_api.ingest.large_sample_writer import LargeSampleWriter, ReadHeaders
from storage.documents import (
    BadRequest,
    Conflict,
    DropzoneError,
    Header,
    Identity,
    Sample,
    TooLarge,
    document_paths,
    state_of,
)
from storage.documents.sample import MAX_INLINE_BYTES
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import PreconditionFailed
from storage.firestore.group_commit_writer import GroupCommitWriter

_VALIDATIONS_PER_TURN = 32
"""How many small samples are validated before other tasks of the event loop run."""

Outcome = Header | Exception
"""The header of a stored sample, or the reason why it was not stored."""


class Receiver:
    """Validates and stores samples.

    `time_zone` applies to time stamps without a UTC offset. If it is None, such time stamps are rejected.
    """

    def __init__(
        self,
        firestore: Firestore,
        writer: GroupCommitWriter,
        read_headers: ReadHeaders,
        *,
        max_sample_bytes: int,
        time_zone: str | None,
        shards: int,
        memory_budget: MemoryBudget,
    ) -> None:
        self._firestore = firestore
        self._writer = writer
        self._read_headers = read_headers
        self._large_samples = LargeSampleWriter(firestore, writer, read_headers)
        self.max_sample_bytes = max_sample_bytes
        self._time_zone = time_zone
        self._shards = shards
        self.memory_budget = memory_budget

    async def receive(self, raw: bytes, *, submitter: str, idempotency_key: str | None = None) -> Header:
        """Store the sample `raw`, also if it is invalid. Return its header after Firestore has committed it.

        Raises `NotJson` or `TooLarge` for bytes that cannot be stored, `BadRequest` for an invalid
        `idempotency_key`, `Conflict` if that key was used for other content, and `Unavailable`.
        """
        if idempotency_key is not None and not document_paths.is_idempotency_key(idempotency_key):
            limit = document_paths.MAX_IDEMPOTENCY_KEY_CHARACTERS
            raise BadRequest(f"expected an idempotency key of 1 to {limit} printable characters")
        if len(raw) > MAX_INLINE_BYTES:
            return await self._receive_large(raw, submitter, idempotency_key)
        started = time.perf_counter()
        (outcome,) = await self._write_headers([self._validate(raw, submitter, idempotency_key)])
        if isinstance(outcome, Exception):
            raise outcome
        _count(outcome, started)
        return outcome

    async def receive_all(self, raws: Sequence[bytes], *, submitter: str) -> list[Outcome]:
        """Store each sample of `raws`. Return, for each sample, its header or the exception that `receive` raises."""
        large = [index for index, raw in enumerate(raws) if len(raw) > MAX_INLINE_BYTES]
        large_outcomes = asyncio.gather(
            *(self._receive_large(raws[index], submitter, None) for index in large), return_exceptions=True
        )
        outcomes: dict[int, Any] = {}
        samples: dict[int, Sample] = {}
        started = time.perf_counter()
        for index, raw in enumerate(raws):
            try:
                if len(raw) <= MAX_INLINE_BYTES:
                    samples[index] = self._validate(raw, submitter, None)
            except DropzoneError as error:
                outcomes[index] = error.with_traceback(None)  # the traceback would hold all of `raws` in memory
            except Exception as error:  # noqa: BLE001 - the error is the outcome of this sample only
                outcomes[index] = error
            if index % _VALIDATIONS_PER_TURN == _VALIDATIONS_PER_TURN - 1:
                await asyncio.sleep(0)
        outcomes.update(zip(samples, await self._write_headers(list(samples.values())), strict=True))
        for index in samples:
            if isinstance(outcomes[index], Header):
                _count(outcomes[index], started)
        outcomes.update(zip(large, await large_outcomes, strict=True))
        return [outcomes[index] for index in range(len(raws))]

    async def close(self) -> None:
        """Cancel the removal of chunks. Requests do not wait for this removal."""
        await self._large_samples.close()

    async def _receive_large(self, raw: bytes, submitter: str, idempotency_key: str | None) -> Header:
        if len(raw) > self.max_sample_bytes:
            raise TooLarge(f"expected a sample of at most {self.max_sample_bytes:,} bytes, got {len(raw):,} bytes")
        started = time.perf_counter()
        with self.memory_budget.reserve() as reservation:
            reservation.resize(len(raw))
            validate = partial(self._validate, raw, submitter, idempotency_key)
            async with self._large_samples.write_chunks(raw, submitter, idempotency_key, validate) as sample:
                (outcome,) = await self._write_headers([sample])
                if isinstance(outcome, Exception):
                    raise outcome
        _count(outcome, started)
        return outcome

    def _validate(
        self, raw: bytes, submitter: str, idempotency_key: str | None, identity: Identity | None = None
    ) -> Sample:
        return Sample.receive(
            raw,
            submitter=submitter,
            idempotency_key=idempotency_key,
            time_zone=self._time_zone,
            shards=self._shards,
            identity=identity,
        )

    async def _write_headers(self, samples: Sequence[Sample]) -> list[Outcome]:
        """Write headers and set their `submitted_at`.

        If a sample with the same id is already stored, the outcome is the stored header if the content is equal.
        Otherwise the outcome is `Conflict`.
        """
        outcomes: list[Outcome] = []
        results = await self._writer.write_all([self._header_write(sample) for sample in samples])
        for sample, result in zip(samples, results, strict=True):
            if isinstance(result, Exception):
                outcomes.append(result)
            else:
                sample.header.submitted_at = encoding.to_datetime(result.transform_results[0].timestamp_value)
                outcomes.append(sample.header)
        if any(isinstance(outcome, PreconditionFailed) for outcome in outcomes):
            return await self._resolve_existing(samples, outcomes)
        return outcomes

    def _header_write(self, sample: Sample) -> Any:
        path, header = sample.document()
        write = encoding.to_write(self._firestore.name(path), header)
        write.current_document.exists = False
        return write

    async def _resolve_existing(self, samples: Sequence[Sample], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Replace each `PreconditionFailed` with the stored header or `Conflict`. One read gets all stored headers."""
        existing = [
            sample.header
            for sample, outcome in zip(samples, outcomes, strict=True)
            if isinstance(outcome, PreconditionFailed)
        ]
        try:
            stored = await self._read_headers(existing[0].submitter, {header.id for header in existing})
        except Exception as error:  # noqa: BLE001 - the error is the outcome of the samples that exist
            return [error if isinstance(outcome, PreconditionFailed) else outcome for outcome in outcomes]
        return [
            _resolve(sample.header, stored.get(sample.header.id))
            if isinstance(outcome, PreconditionFailed)
            else outcome
            for sample, outcome in zip(samples, outcomes, strict=True)
        ]


def _resolve(submitted: Header, stored: Header | None) -> Outcome:
    if stored is None or stored.sha256 != submitted.sha256:
        return Conflict("this idempotency key was used for another sample; use a new key for a new sample")
    return stored


def _count(header: Header, started: float) -> None:
    metrics.submit_duration(state_of(header.arrival)).observe(time.perf_counter() - started)
    metrics.SUBMITTED_BYTES.inc(header.byte_count)
