"""The verifier: reads all samples of a database, and compares them with their digests and their results.

A sample can change between two reads, and Firestore deletes the chunks of an expired sample separately. A problem
therefore counts only if the sample still has the same version afterwards. Expired samples are not verified.

Opens no connection of its own, and writes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace

from storage.documents import (
    Arrival,
    Header,
    InvalidSample,
    ProblemCode,
    Result,
    Status,
    belongs_to_sample,
    document_paths,
)
from storage.documents.statistics import STATISTICS_VERSION
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document, StructuredQuery
from triggers import computation

PAGE_SIZE = 100

_NOT_REPEATABLE = frozenset({ProblemCode.GIVEN_UP, ProblemCode.NOT_COMPUTABLE, ProblemCode.OVER_BUDGET})
"""Problems of an attempt, not of the sample. Another attempt can therefore have another result."""


@dataclass
class Totals:
    """The numbers of verified samples and results, and of problems."""

    samples: int = 0
    pending: int = 0
    results: int = 0
    recomputed: int = 0
    problems: int = 0

    def __str__(self) -> str:
        """Return the last line of the output."""
        return (
            f"{self.samples} samples, {self.pending} of them without a result yet; {self.results} results, "
            f"{self.recomputed} of them computed again; {self.problems} problems"
        )


@dataclass(frozen=True, slots=True)
class _Page:
    """Some stored headers, and those of their results that exist, by path."""

    headers: list[Document]
    results: dict[str, Document]


class Verifier:
    """Verifies the samples of one database. `submitter` selects the samples of one submitter."""

    def __init__(self, firestore: Firestore, submitter: str | None, recompute_every: int) -> None:
        self._firestore = firestore
        self._submitter = submitter
        self._recompute_every = recompute_every
        self.totals = Totals()

    async def problems(self) -> AsyncIterator[str]:
        """Yield a line for each problem."""
        # The next page is read while this page is verified: Firestore and this process work at the same time.
        pages = self._pages()
        reading = asyncio.ensure_future(anext(pages, None))
        try:
            while (page := await reading) is not None:
                reading = asyncio.ensure_future(anext(pages, None))
                for header in page.headers:
                    # The next page is read meanwhile, even if the verification of small samples never waits.
                    await asyncio.sleep(0)
                    path = self._firestore.path(header.name)
                    for problem in await self._lasting_problems(header, page.results.get(_result_path(path))):
                        self.totals.problems += 1
                        yield f"{path}: {problem}"
        finally:
            reading.cancel()

    async def _pages(self) -> AsyncIterator[_Page]:
        """Yield the headers in the order of their names, and their results."""
        parent = "" if self._submitter is None else document_paths.submitter(self._submitter)
        query = StructuredQuery()
        query.from_.add(collection_id=document_paths.SAMPLES, all_descendants=self._submitter is None)
        async for headers in self._firestore.pages(parent, query, PAGE_SIZE):
            paths = [_result_path(self._firestore.path(header.name)) for header in headers]
            yield _Page(headers, await self._firestore.batch_get(paths))

    async def _lasting_problems(self, document: Document, stored: Document | None) -> list[str]:
        """Return the problems of a sample, or none if it has expired meanwhile. Verify a changed sample again."""
        path = self._firestore.path(document.name)
        totals = replace(self.totals)
        while not encoding.is_expired(document, await self._firestore.estimated_now()):
            problems = [problem async for problem in self._verify(document, stored)]
            if not problems:
                return []
            found = await self._firestore.batch_get([path, _result_path(path)])
            current = found.get(path)
            is_changed = current is None or current.update_time != document.update_time
            if not is_changed and not encoding.is_expired(document, await self._firestore.estimated_now()):
                return problems
            self.totals = replace(totals)
            if current is None:
                break
            document, stored = current, found.get(_result_path(path))
        return []

    async def _verify(self, document: Document, stored: Document | None) -> AsyncIterator[str]:
        self.totals.samples += 1
        submitter, sample_id = _ids(self._firestore.path(document.name))
        try:
            header = Header.from_fields(submitter, sample_id, encoding.from_document(document))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            yield f"the header is damaged: {error!r}"
            return
        paths = header.chunk_paths()
        found = await self._firestore.batch_get(paths)
        chunks = [found.pop(path).fields["data"].bytes_value for path in paths if path in found]
        try:
            await asyncio.to_thread(header.assemble, chunks) if chunks else header.assemble(chunks)
        except InvalidSample as error:
            yield error.problems[0].message
            return
        if stored is not None and not _is_result_of(header, stored):
            stored = None
        if header.arrival is Arrival.REJECTED:
            if stored is not None:
                yield "a REJECTED sample has a result"
        elif stored is None:
            self.totals.pending += 1
        else:
            async for problem in self._verify_result(header, document, chunks, stored):
                yield problem

    async def _verify_result(
        self, header: Header, document: Document, chunks: Sequence[bytes], stored: Document
    ) -> AsyncIterator[str]:
        self.totals.results += 1
        try:
            result = Result.from_fields(header.submitter, header.id, encoding.from_document(stored))
        except (KeyError, TypeError, ValueError) as error:
            yield f"the result is damaged: {error!r}"
            return
        update_time = encoding.to_datetime(document.update_time)
        if result.sample_update_time > update_time:
            yield "the result belongs to a later version of the sample"
        is_repeatable = result.problem is None or result.problem.code not in _NOT_REPEATABLE
        is_current = result.statistics_version == STATISTICS_VERSION and result.sample_update_time == update_time
        if not (is_current and is_repeatable) or self.totals.results % self._recompute_every:
            return
        self.totals.recomputed += 1
        expected = await asyncio.to_thread(computation.compute, header, update_time, chunks)
        for problem in _differences(result, expected):
            yield problem


def _is_result_of(header: Header, stored: Document) -> bool:
    """Return False for the tombstone or the result of an earlier sample with the same idempotency key."""
    return header.submitted_at is None or belongs_to_sample(encoding.from_document(stored), header.submitted_at)


def _differences(stored: Result, expected: Result) -> Iterator[str]:
    if stored.status is not expected.status:
        yield f"the result is {stored.status}, but a new computation returns {expected.status}"
    elif stored.status is Status.COMPUTED and stored.timestamp != expected.timestamp:
        yield f"the time stamp of the result is {stored.timestamp}, but a new computation returns {expected.timestamp}"
    elif stored.statistics is not None and expected.statistics is not None:
        before, after = stored.statistics.fields(), expected.statistics.fields()
        for name in after:
            if before.get(name) != after[name]:
                yield f"{name} is {before.get(name)}, but a new computation returns {after[name]}"


def _result_path(sample_path: str) -> str:
    return document_paths.result(*_ids(sample_path))


def _ids(path: str) -> tuple[str, str]:
    """Return the submitter and the id of a sample."""
    _, submitter, _, sample_id = path.split("/")
    return submitter, sample_id
