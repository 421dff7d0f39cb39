"""The receiver: validates and stores the samples of every endpoint.

A small sample is validated on the event loop and stored as one document, its header. Small samples that arrive together
are written with one call of `write_all`. A large sample is validated in a thread and stored in chunks. Its header is
written last. Submitters take turns: on the event loop, in the threads, and in the writer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from graphql_api import metrics
from graphql_api.budgets.budgets import Budgets, Sender
from graphql_api.errors import count_failed_samples
from graphql_api.ingest.admission import Admission, store_in_parts
from graphql_api.ingest.backlog import Backlog
from graphql_api.ingest.corrections import Corrections
from graphql_api.ingest.fair_executor import FairExecutor
from graphql_api.ingest.large_sample_writer import LargeSampleWriter
from graphql_api.ingest.repeated_samples import Outcome, RepeatedSamples
from graphql_api.ingest.submitter_settings import SubmitterSettings
from graphql_api.ingest.thorough_validator import ThoroughValidator
from graphql_api.ingest.uploads import ReadHeaders, commit_header
from observability import request_context
from storage.documents import (
    BadRequest,
    ContentKey,
    DropzoneError,
    Expiry,
    Header,
    Labels,
    Sample,
    SampleIdentity,
    TooLarge,
    Unavailable,
    document_paths,
    state_of,
)
from storage.documents.chunks import MAX_INLINE_BYTES
from storage.documents.validation import payload
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError, PreconditionFailed
from storage.firestore.messages import Write, WriteResult
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

_MIN_TURN_BYTES = 16 * 1024  # larger requests wait for their turn before they are validated on the event loop
_MAX_VALIDATION_THREADS = 2
_TOO_LITTLE_MEMORY = "the server has too little memory for this sample; retry later"


@dataclass(slots=True)
class _Submission:
    """What applies to all samples of one call."""

    sender: Sender
    idempotency_key: str | ContentKey | None = None
    labels: Labels | None = None
    supersedes: str | None = None
    """The id of the sample that the only sample corrects."""
    arrived_at: float = field(default_factory=time.perf_counter)


class Receiver:
    """Validates and stores samples. Its callers keep memory for large samples reserved until the samples are stored.

    `time_zone` applies to time stamps without a UTC offset. If it is None, such time stamps are rejected.
    """

    def __init__(
        self,
        firestore: Firestore,
        writer: GroupCommitWriter,
        read_headers: ReadHeaders,
        settings: SubmitterSettings,
        *,
        max_sample_bytes: int,
        time_zone: str | None,
        shards: int,
        budgets: Budgets,
    ) -> None:
        self._firestore = firestore
        self._writer = writer
        self._settings = settings
        self._budgets = budgets
        self.max_sample_bytes = max_sample_bytes
        self._time_zone = None if time_zone is None else ZoneInfo(time_zone)
        self._sample = partial(Sample.receive, time_zone=self._time_zone, shards=shards)
        self.admission = Admission(budgets, lambda: writer.share)
        self.validators = FairExecutor(_MAX_VALIDATION_THREADS, "validator")
        self._thorough = ThoroughValidator(self.validators, settings, budgets, self._time_zone)
        self._large_samples = LargeSampleWriter(firestore, writer, read_headers, self.validators)
        self._repeated = RepeatedSamples(firestore, read_headers)
        self._backlog = Backlog(firestore, budgets)
        self._corrections = Corrections(firestore, writer, self._repeated, self._backlog, budgets)

    async def receive(
        self,
        raw: bytes,
        *,
        sender: Sender,
        idempotency_key: str | ContentKey | None = None,
        labels: Labels | None = None,
        supersedes: str | None = None,
    ) -> Header:
        """Store the sample `raw`, even if it is invalid. Return its header after Firestore has committed it.

        The sample has `labels` in addition to its own labels. If it is accepted, it supersedes the sample with the id
        `supersedes`.

        Raises `NotJson` or `TooLarge` for bytes that cannot be stored, and `BadRequest` for an invalid
        `idempotency_key`. Raises `Conflict` if that key was used for other content, or if another sample supersedes the
        sample `supersedes`. Raises `NotFound` if that sample does not exist. Raises `RateLimited` if the sender has
        sent too many samples. Raises `Unavailable`.
        """
        if isinstance(idempotency_key, str) and not document_paths.is_idempotency_key(idempotency_key):
            limit = document_paths.MAX_IDEMPOTENCY_KEY_CHARACTERS
            raise BadRequest(f"expected an idempotency key of 1 to {limit} printable characters")
        submission = _Submission(sender, idempotency_key, labels, supersedes)
        try:
            self._budgets.admit_samples(sender, 1, len(raw))
            if len(raw) > MAX_INLINE_BYTES:
                return await self._receive_large(raw, submission)
            if len(raw) > _MIN_TURN_BYTES:
                await self._budgets.turns.wait(sender.submitter)
            else:
                await asyncio.sleep(0)  # receive other requests first: 11 % less CPU time with 64 connections
            sample = await self._validated(raw, submission)
            return _only_header(await self._store([sample], submission))
        except Exception as error:
            count_failed_samples(error)
            raise

    async def receive_all(self, raws: Sequence[bytes], *, sender: Sender) -> list[Outcome]:
        """Store each sample of `raws`. Return, for each sample, its header or the exception that `receive` raises.

        Raises `RateLimited` if the sender may not store this number of samples now.
        """
        self._budgets.admit_samples(sender, len(raws), sum(map(len, raws)))
        return await store_in_parts(
            raws, lambda part: self._receive_many(part, _Submission(sender), self._receive_large)
        )

    async def receive_lines(
        self, raws: Sequence[bytes], *, sender: Sender, labels: Labels, content_key: ContentKey | None
    ) -> list[Outcome]:
        """Store lines of a stream that `admission` has admitted. Return the outcomes as `receive_all` does.

        Each sample has `labels` in addition to its own labels. If it has no idempotency key, it gets `content_key`. The
        caller keeps memory reserved for the small samples only.
        """
        return await self._receive_many(raws, _Submission(sender, content_key, labels), self._receive_large_line)

    async def close(self) -> None:
        """Cancel the removals of chunks, because no request waits for them."""
        await self._backlog.close()
        await self._large_samples.close()
        self.validators.close()

    async def _receive_many(
        self, raws: Sequence[bytes], submission: _Submission, receive: Callable[[bytes, _Submission], Awaitable[Header]]
    ) -> list[Outcome]:
        large = [index for index, raw in enumerate(raws) if len(raw) > MAX_INLINE_BYTES]
        receiving = asyncio.gather(*(receive(raws[index], submission) for index in large), return_exceptions=True)
        try:
            samples, outcomes = await self._validated_small(raws, submission)
            try:
                stored = await self._store([*samples.values()], submission)
            except (DropzoneError, FirestoreError) as error:  # large samples and those of earlier calls may be stored
                stored = [error.with_traceback(None)] * len(samples)
            outcomes.update(zip(samples, stored, strict=True))
            for index, outcome in zip(large, await receiving, strict=True):
                outcomes[index] = outcome.with_traceback(None) if isinstance(outcome, DropzoneError) else outcome
        except BaseException:  # the client has disconnected, for example
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            raise
        for failure in (outcome for outcome in outcomes.values() if isinstance(outcome, Exception)):
            count_failed_samples(failure)
        return [outcomes[index] for index in range(len(raws))]

    async def _receive_large(self, raw: bytes, submission: _Submission) -> Header:
        if len(raw) > self.max_sample_bytes:
            raise TooLarge(f"expected a sample of at most {self.max_sample_bytes:,} bytes, got {len(raw):,} bytes")
        submitter, key, earlier_id = submission.sender.submitter, submission.idempotency_key, submission.supersedes
        settings = await self._settings.current(submitter)

        def validate(identity: SampleIdentity | None) -> Sample:
            report = payload.validate(raw, self._time_zone, skips_missing=settings.skips_missing)
            identity = identity or SampleIdentity.after_parsing(raw, submitter, key, report.idempotency_key)
            return self._sample(raw, report, identity, default_labels=submission.labels)

        check = None if earlier_id is None else partial(self._corrections.check, earlier_id=earlier_id)
        try:
            async with self._large_samples.write_chunks(
                raw, submitter, key, validate=validate, check=check, expire_at=settings.expiry.sample
            ) as sample:
                return _only_header(await self._store([sample], submission, settings.expiry))
        except MemoryError:
            raise Unavailable(_TOO_LITTLE_MEMORY) from None

    async def _receive_large_line(self, raw: bytes, submission: _Submission) -> Header:
        share = self._budgets.submitter(submission.sender.submitter).request_bytes
        with self._budgets.memory.new_reservation(share) as reservation:
            reservation.resize(len(raw))
            return await self._receive_large(raw, submission)

    async def _validated_small(
        self, raws: Sequence[bytes], submission: _Submission
    ) -> tuple[dict[int, Sample], dict[int, Any]]:
        """Return the small samples of `raws` by their index, and the errors of those that cannot be stored."""
        samples: dict[int, Sample] = {}
        errors: dict[int, Any] = {}
        turn = self._budgets.turns.of(submission.sender.submitter)
        await turn.start()
        for index, raw in enumerate(raws):
            try:
                if len(raw) <= MAX_INLINE_BYTES:
                    samples[index] = await self._validated(raw, submission)
            except DropzoneError as error:
                errors[index] = error.with_traceback(None)  # its traceback would hold all of `raws` in memory
            except MemoryError:
                errors[index] = Unavailable(_TOO_LITTLE_MEMORY)
            except Exception as error:  # noqa: BLE001 - the error is the outcome of this sample only
                errors[index] = error
            await turn.pause()
        return samples, errors

    async def _validated(self, raw: bytes, submission: _Submission) -> Sample:
        """Return the sample of a small raw document."""
        submitter = submission.sender.submitter
        report = payload.validate_quickly(raw, self._time_zone) or await self._thorough.validate(raw, submitter)
        identity = SampleIdentity.after_parsing(raw, submitter, submission.idempotency_key, report.idempotency_key)
        return self._sample(raw, report, identity, default_labels=submission.labels)

    async def _store(
        self, samples: Sequence[Sample], submission: _Submission, expiry: Expiry | None = None
    ) -> list[Outcome]:
        """Store samples with their sender and their times of submission and expiry. Return the outcome of each.

        If a sample with the same id is stored, the outcome is its header. If its content differs, the outcome is
        `Conflict`. If it has expired, it is replaced. Without `expiry`, the current settings of the submitter apply.
        """
        sender = submission.sender
        expiry = expiry or (await self._settings.current(sender.submitter)).expiry
        for sample in samples:
            sample.header.submitted_by, sample.header.supersedes = sender.label, submission.supersedes
            sample.header.expire_at, sample.header.result_expire_at, sample.header.archiving = expiry
        outcomes: list[Outcome] = []
        for sample, outcome in zip(samples, await self._write(samples, submission.supersedes), strict=True):
            if isinstance(outcome, WriteResult):
                sample.header.submitted_at = encoding.to_datetime(outcome.transform_results[0].timestamp_value)
                outcome = sample.header
            if isinstance(outcome, Header):
                metrics.submit_duration(state_of(outcome.arrival)).observe(time.perf_counter() - submission.arrived_at)
                metrics.SUBMITTED_BYTES.inc(outcome.byte_count)
            outcomes.append(outcome)
        return outcomes

    async def _write(self, samples: Sequence[Sample], earlier_id: str | None) -> Sequence[WriteResult | Outcome]:
        """Write headers. Return the `WriteResult` of each, the stored header of a repeated sample, or the error."""
        writes = [self._to_write(sample) for sample in samples]
        if earlier_id is not None:
            return [await self._corrections.correct(samples[0], writes[0], earlier_id)]
        results = await self._commit(samples, writes)
        if any(isinstance(result, PreconditionFailed) for result in results):
            return await self._repeated.resolve(samples, writes, results, self._commit)
        return results

    async def _commit(self, samples: Sequence[Sample], writes: Sequence[Write]) -> list[WriteResult | Exception]:
        """Commit and count headers of small samples, or of one large sample. Return the result or the error of each."""
        headers = [sample.header for sample in samples]
        if any(header.chunks for header in headers):
            try:
                return [await self._backlog.commit(headers[0], commit_header(self._firestore, samples[0], writes[0]))]
            except PreconditionFailed as error:
                return [error]
        submitter = headers[0].submitter if headers else ""
        count = partial(self._backlog.add, submitter)
        results = await self._writer.write_all(writes, submitter, note_late=lambda index: count([headers[index]]))
        count(header for header, result in zip(headers, results, strict=True) if isinstance(result, WriteResult))
        return results

    def _to_write(self, sample: Sample) -> Write:
        path, header = sample.document()
        if trace := request_context.traceparent():
            header = {**header, "traceparent": trace}
        return encoding.to_conditional_write(self._firestore.name(path), header, None)


def _only_header(outcomes: Sequence[Outcome]) -> Header:
    """Return the header of the only sample, or raise the reason why it was not stored."""
    (outcome,) = outcomes
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
