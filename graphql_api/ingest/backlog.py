"""The backlog of a submitter: stored samples that have no result yet.

A query that counts these samples would read every sample. Instead, this module remembers the id of every nth stored
sample, and checks in Firestore which of these samples have results. Results are written in about the order of the
samples. All samples before the newest sample with a result therefore count as computed.

A sample that expires or is erased without a result never gets one. It counts as computed too.

The backlog covers the samples that this process has stored since it started. A sample also counts if its client
disconnects, or if the write times out, before the write is confirmed.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from itertools import islice
from typing import Any

from graphql_api.budgets.budget import Budget
from graphql_api.budgets.budgets import Budgets
from observability.throttled_log import ThrottledLog
from storage.documents import Arrival, Header, Unavailable, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import DamagedData, FirestoreError
from storage.firestore.messages import WriteResult

_MARKS_PER_LIMIT = 200
_MAX_MARKS_READ = 20
_CHECK_SECONDS = 0.5
_SMALL_BACKLOG_CHECK_SECONDS = 30.0
_SMALL_BACKLOG = 0.1  # of the limit

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
        marks = own.marks_to_read()
        paths = {document_paths.result(submitter, sample_id): number for number, sample_id in marks}
        found = await self._firestore.batch_get(paths, mask=["status"])
        computed = max((paths[path] for path in found), default=0)
        own.set_computed(computed or await self._newest_gone(submitter, {marks[0], marks[-1]}))
        if not own.budget.used:
            del self._submitters[submitter]

    async def _newest_gone(self, submitter: str, marks: Iterable[tuple[int, str]]) -> int:
        """Return the number of the newest sample that has expired or does not exist, or 0 if there is none."""
        paths = {document_paths.sample(submitter, sample_id): number for number, sample_id in marks}
        headers = await self._firestore.batch_get(paths, mask=["expire_at"])
        now = await self._firestore.estimated_now()
        gone = (paths[path] for path in paths if path not in headers or encoding.is_expired(headers[path], now))
        return max(gone, default=0)


class _SubmitterMarks:
    """The marks of one submitter: the number and the id of every nth sample, from the oldest pending sample on."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.check_at = time.monotonic() + _SMALL_BACKLOG_CHECK_SECONDS
        self._small = _SMALL_BACKLOG * budget.max_amount
        self._stored = 0
        self._last_id = ""
        self._every = max(1, budget.max_amount // _MARKS_PER_LIMIT)
        self._marks: deque[tuple[int, str]] = deque()

    def add(self, ids: Sequence[str]) -> None:
        before = self._stored
        self._stored += len(ids)
        for number in range((before // self._every + 1) * self._every, self._stored + 1, self._every):
            self._marks.append((number, ids[number - before - 1]))
        self._last_id = ids[-1]
        if self.budget.used < self._small <= self.budget.used + len(ids):
            self.check_at = time.monotonic()
        self.budget.used += len(ids)

    def marks_to_read(self) -> list[tuple[int, str]]:
        """Return the oldest marks and the newest sample."""
        return [*islice(self._marks, _MAX_MARKS_READ), (self._stored, self._last_id)]

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
