"""The backlog of a submitter: stored samples that have no result yet.

A query that counts these samples would read every sample. Instead, this module remembers the id of one of every n
stored samples, and checks in Firestore which of these samples have results. Results are written in about the order of
the samples. All samples before the newest sample with a result therefore count as computed.

A sample that expires, or that is deleted or erased, never gets a result. It says nothing about the samples before it.
It counts as computed once all remembered samples before it have gone too. The remembered samples are chosen at random.
Otherwise, a client could hide its backlog by deleting only these.

The backlog covers the samples that this process has stored since it started. A sample also counts if its client
disconnects, or if the write times out, before the write is confirmed.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from itertools import islice, takewhile
from random import randint
from typing import Any

from graphql_api.budgets.budget import Budget
from graphql_api.budgets.budgets import Budgets
from observability.throttled_log import ThrottledLog
from storage.documents import Arrival, Header, Status, Unavailable, belongs_to_sample, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import DamagedData, FirestoreError
from storage.firestore.messages import Document, WriteResult

_MARKS_PER_LIMIT = 200
_MAX_MARKS_READ = 20
_CHECK_SECONDS = 0.5
_SMALL_BACKLOG_CHECK_SECONDS = 30.0
_SMALL_BACKLOG = 0.1  # of the limit

_FIELDS = ("status", "submitted_at", "sample_update_time", "expire_at")

_Mark = tuple[int, str]
"""The number and the id of a sample."""

_failed_reads = ThrottledLog(logging.getLogger("graphql_api"))


class Backlog:
    """Keeps the budget `pending_samples` of all submitters up to date."""

    def __init__(self, firestore: Firestore, budgets: Budgets) -> None:
        self._firestore = firestore
        self._budgets = budgets
        self._submitters: dict[str, _SubmitterMarks] = {}
        self._checks = asyncio.create_task(self._check_all())
        self._commits: set[asyncio.Task[WriteResult]] = set()

    async def commit(self, header: Header, commit: Coroutine[Any, Any, WriteResult]) -> WriteResult:
        """Return the result of `commit`, which stores `header`, and count it. A cancellation does not stop `commit`."""
        task = asyncio.create_task(self._count(header, commit))
        self._commits.add(task)
        task.add_done_callback(self._end_commit)
        await asyncio.wait([task])
        return task.result()

    async def _count(self, header: Header, commit: Coroutine[Any, Any, WriteResult]) -> WriteResult:
        result = await commit
        self.add(header.submitter, [header])
        return result

    def _end_commit(self, task: asyncio.Task[WriteResult]) -> None:
        self._commits.discard(task)
        if not task.cancelled():
            task.exception()  # otherwise, asyncio logs the error if the request was cancelled

    def add(self, submitter: str, headers: Iterable[Header]) -> None:
        """Count the accepted samples among `headers`, the headers of samples that were stored just now."""
        ids = [header.id for header in headers if header.arrival is Arrival.ACCEPTED]
        if ids:
            own = self._submitters.get(submitter)
            if own is None:
                own = self._submitters[submitter] = _SubmitterMarks(self._budgets.submitter(submitter).pending_samples)
            own.add(ids)

    async def close(self) -> None:
        """Stop the checks, and wait for the commits in flight."""
        self._checks.cancel()
        await asyncio.gather(self._checks, *self._commits, return_exceptions=True)

    async def _check_all(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            now = time.monotonic()
            for submitter, own in [*self._submitters.items()]:
                if own.check_at <= now:
                    try:
                        await self._check(submitter, own)
                    except (Unavailable, FirestoreError) as error:
                        if isinstance(error, DamagedData):
                            own.drop_mark()
                        _failed_reads.warning("could not read which samples have results: %s", error)
                    except Exception as error:  # noqa: BLE001 - one failure must not end the checks of all submitters
                        _failed_reads.warning("unexpected error while counting pending samples", cause=error)

    async def _check(self, submitter: str, own: "_SubmitterMarks") -> None:
        oldest, newest = own.oldest_and_newest()
        headers = {number: document_paths.sample(submitter, sample_id) for number, sample_id in [*oldest, newest]}
        results = {number: document_paths.result(submitter, sample_id) for number, sample_id in [*oldest, newest]}
        documents = await self._firestore.batch_get([*headers.values(), *results.values()], mask=_FIELDS)
        now = await self._firestore.estimated_now()
        stored = {number: documents.get(path) for number, path in headers.items()}
        gone = {number for number, header in stored.items() if header is None or encoding.is_expired(header, now)}
        computed = (number for number, path in results.items() if _has_result(stored[number], documents.get(path)))
        first_gone = takewhile(gone.__contains__, [number for number, _ in oldest])
        own.set_computed(max([*computed, *first_gone], default=0))
        if not own.budget.used:
            del self._submitters[submitter]


def _has_result(header: Document | None, result: Document | None) -> bool:
    """Return whether the function has written the result of the sample with this header."""
    if header is None or result is None or result.fields["status"].string_value == Status.DELETED:
        return False
    return belongs_to_sample(encoding.from_document(result), encoding.field_time(header, "submitted_at"))


class _SubmitterMarks:
    """The marks of one submitter: numbers and ids of one of every n samples, from the oldest pending sample on."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.check_at = time.monotonic() + _SMALL_BACKLOG_CHECK_SECONDS
        self._small = _SMALL_BACKLOG * budget.max_amount
        self._stored = 0
        self._last_id = ""
        self._every = max(1, budget.max_amount // _MARKS_PER_LIMIT)
        self._marks: deque[_Mark] = deque()
        self._next = randint(1, self._every)

    def add(self, ids: Sequence[str]) -> None:
        before = self._stored
        self._stored += len(ids)
        while self._next <= self._stored:
            self._marks.append((self._next, ids[self._next - before - 1]))
            self._next += self._every - (self._next - 1) % self._every + randint(0, self._every - 1)
        self._last_id = ids[-1]
        if self.budget.used < self._small <= self.budget.used + len(ids):
            self.check_at = time.monotonic()
        self.budget.used += len(ids)

    def oldest_and_newest(self) -> tuple[list[_Mark], _Mark]:
        """Return the oldest marks and the newest sample. The list ends with this sample if it has all marks."""
        newest = (self._stored, self._last_id)
        oldest = [*islice(self._marks, _MAX_MARKS_READ)]
        return [*oldest, newest] if len(oldest) == len(self._marks) else oldest, newest

    def drop_mark(self) -> None:
        """Drop the oldest mark, because a result that the marks refer to cannot be read."""
        if self._marks:
            self._marks.popleft()

    def set_computed(self, number: int) -> None:
        """Count the sample with this number and all samples before it as computed."""
        while self._marks and self._marks[0][0] <= number:
            self._marks.popleft()
        self.budget.used = min(self.budget.used, self._stored - number)
        pause = _SMALL_BACKLOG_CHECK_SECONDS if self.budget.used < self._small else _CHECK_SECONDS
        self.check_at = time.monotonic() + pause
