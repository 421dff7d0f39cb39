"""The series of a submitter: each combination of labels that its results have had, and the newest result of each.

The function registers a series once, before it writes the first result of the series. Reading the series therefore does
not depend on the number of results. A series is not deleted with its results, because each process of the function
remembers the series that it has registered. A query reads the newest results of up to 30 groups.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from weakref import WeakValueDictionary

from graphql_api.errors import TooComplex
from graphql_api.results.filters import Selection
from graphql_api.results.result_listing import ResultListing, decode_result
from runtime.shared_tasks import SharedTasks
from storage.documents import BadRequest, Labels, Result, document_paths, labels
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document, StructuredQuery

MAX_SERIES = 10_000
MAX_GROUPS = 1_000
"""The maximum number of groups of one response."""
_MAX_CONCURRENT_QUERIES = 64
_MAX_TERMS = 30
"""The maximum number of values in an `array-contains-any` filter of Firestore."""
_MAX_REMAINING = 2 / 3
"""If a larger share of groups remains after queries of several groups, the next queries read one group each."""

_Values = tuple[str, ...]
"""The values of the labels that form a group."""


class SeriesListing:
    """Lists the series of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, results: ResultListing) -> None:
        self._firestore = firestore
        self._results = results
        self._readings = SharedTasks[str, list[Labels]]()
        """The readings that have not started, by submitter. Concurrent requests share a reading."""
        self._locks = WeakValueDictionary[str, asyncio.Lock]()

    async def read(self, submitter: str, having: Labels) -> list[Labels]:
        """Return the labels of each series that has the labels `having`.

        Raises `TooComplex` if the submitter has more than `MAX_SERIES` series.
        """
        found = await self._readings.run(submitter, partial(self._read_next, submitter))
        await self._results.turns.wait(submitter)  # many fields can share a reading, and each then takes milliseconds
        return [each for each in found if having.items() <= each.items()]

    async def _read_next(self, submitter: str) -> list[Labels]:
        """Read all series after the present reading has ended. Later requests do not share this reading."""
        lock = self._locks.get(submitter)
        if lock is None:
            lock = self._locks[submitter] = asyncio.Lock()
        async with lock:
            self._readings.invalidate(submitter)
            return await self._read_all(submitter)

    async def _read_all(self, submitter: str) -> list[Labels]:
        query = StructuredQuery()
        query.from_.add(collection_id=document_paths.SERIES)
        query.limit.value = MAX_SERIES + 1
        documents = await self._firestore.page(document_paths.submitter(submitter), query)
        if len(documents) > MAX_SERIES:
            raise TooComplex(
                f"the samples have more than {MAX_SERIES:,} combinations of labels; use labels for properties of the "
                "sensor, not of a single sample",
                limit="max_series",
            )
        return await self._results.turns.of(submitter).map(_labels_of, documents)

    async def latest(self, submitter: str, names: Sequence[str], selection: Selection) -> list[Result]:
        """Return the result with the latest time stamp of each group of selected results, ordered by the labels.

        The results of a group have the same values of the labels `names`. A series that lacks one of these labels is
        not in a group. Raises `TooComplex` if there are more than `MAX_GROUPS` groups.
        """
        check_names(names)
        series = await self.read(submitter, selection.labels)
        groups = {tuple(each[name] for name in names) for each in series if all(name in each for name in names)}
        if len(groups) > MAX_GROUPS:
            raise too_many_groups()
        latest = _Latest(self._results, submitter, names, selection)
        await latest.read(sorted(groups))
        return [latest.found[each] for each in sorted(groups) if each in latest.found]


class _Latest:
    """The latest results of groups. One query reads the latest results of several groups, if possible.

    The limit of such a query is the number of groups. If the groups have results at about the same rate, the query
    finds the latest results of two thirds of the groups. The next queries read the other groups. If few groups have
    most of the results, a query with a limit of one document reads each remaining group.
    """

    def __init__(self, results: ResultListing, submitter: str, names: Sequence[str], selection: Selection) -> None:
        self.found: dict[_Values, Result] = {}
        self._results = results
        self._submitter = submitter
        self._names = names
        self._selection = selection
        self._limiter = asyncio.Semaphore(_MAX_CONCURRENT_QUERIES)

    async def read(self, groups: Sequence[_Values]) -> None:
        """Read the latest result of each of `groups`. Groups without selected results are not in `found`."""
        can_share_queries = self._results.is_indexed(self._selection)
        while can_share_queries and len(groups) > 1:
            parts = [groups[start : start + _MAX_TERMS] for start in range(0, len(groups), _MAX_TERMS)]
            remaining = [group for part in await asyncio.gather(*map(self._read_some, parts)) for group in part]
            can_share_queries = len(remaining) < _MAX_REMAINING * len(groups)
            groups = remaining
        await asyncio.gather(*map(self._read_one, groups))

    async def _read_some(self, groups: Sequence[_Values]) -> list[_Values]:
        """Read the latest results of `groups` together. Return the groups whose latest result is not among them."""
        size = len(groups)
        terms = [labels.term(self._labels_of(group)) for group in groups]
        async with self._limiter:
            documents = await self._results.latest(self._submitter, self._selection, terms, size)
        turn = self._results.turns.of(self._submitter)
        for document in documents:
            stored = encoding.from_value(document.fields["labels"])
            group = tuple(stored[name] for name in self._names) if isinstance(stored, dict) else ()
            if group not in self.found:
                await turn.pause()
                self.found[group] = decode_result(self._submitter, document)
        return [group for group in groups if group not in self.found] if len(documents) == size else []

    async def _read_one(self, group: _Values) -> None:
        async with self._limiter:
            selection = replace(self._selection, labels=self._labels_of(group))
            result = await self._results.newest(self._submitter, selection)
        if result is not None:
            self.found[group] = result

    def _labels_of(self, group: _Values) -> Labels:
        return {**self._selection.labels, **dict(zip(self._names, group, strict=True))}


def check_names(names: Sequence[str]) -> None:
    """Raise `BadRequest` unless `names` are one to four different names of labels."""
    if not 1 <= len(names) <= labels.MAX_LABELS:
        raise BadRequest(f"expected 1 to {labels.MAX_LABELS} names of labels, got {len(names)} - at `groupBy`")
    for index, name in enumerate(names):
        if not labels.is_name(name):
            raise BadRequest(f"{labels.invalid_name(name).message} - at `groupBy[{index}]`")
    if len(set(names)) < len(names):
        raise BadRequest("a label appears twice; use each label once - at `groupBy`")


def too_many_groups() -> TooComplex:
    """Return the error for too many groups in a response."""
    return TooComplex(
        f"the results are in more than {MAX_GROUPS:,} groups; use a narrower filter or fewer labels", limit="max_groups"
    )


def _labels_of(document: Document) -> Labels:
    return labels.from_fields(encoding.from_document(document))
