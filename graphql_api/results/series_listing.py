"""The series of a submitter: each combination of labels that its results have, and the newest result of each.

The function registers a series once, before it writes the first result of the series. Reading the series therefore does
not depend on the number of results. The newest result of a series is one query with a limit of one document.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graphql_api.errors import TooComplex
from graphql_api.results.filters import Selection
from graphql_api.results.result_listing import ResultListing
from storage.documents import BadRequest, Labels, Result, document_paths, labels
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import StructuredQuery

MAX_SERIES = 10_000
MAX_GROUPS = 1_000
"""The maximum number of groups of one response."""
_MAX_CONCURRENT_QUERIES = 64


class SeriesListing:
    """Lists the series of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, results: ResultListing) -> None:
        self._firestore = firestore
        self._results = results

    async def read(self, submitter: str, having: Labels) -> list[Labels]:
        """Return the labels of each series that has the labels `having`.

        Raises `TooComplex` if the submitter has more than `MAX_SERIES` series.
        """
        query = StructuredQuery()
        query.from_.add(collection_id=document_paths.SERIES)
        query.limit.value = MAX_SERIES + 1
        documents = await self._firestore.documents(document_paths.submitter(submitter), query)
        if len(documents) > MAX_SERIES:
            raise TooComplex(
                f"the samples have more than {MAX_SERIES:,} combinations of labels; use labels for properties of the "
                "sensor, not of a single sample",
                limit="max_series",
            )
        found = await self._results.turns.of(submitter).map(_labels_of, documents)
        return [each for each in found if having.items() <= each.items()]

    async def latest(self, submitter: str, names: Sequence[str], selection: Selection) -> list[Result]:
        """Return the result with the latest time stamp of each group of selected results, ordered by the labels.

        A group has the same values of the labels `names`. Series without one of these labels belong to no group.
        Raises `TooComplex` if there are more than `MAX_GROUPS` groups.
        """
        check_names(names)
        series = await self.read(submitter, selection.labels)
        groups = {tuple(each[name] for name in names) for each in series if all(name in each for name in names)}
        if len(groups) > MAX_GROUPS:
            raise too_many_groups()
        limiter = asyncio.Semaphore(_MAX_CONCURRENT_QUERIES)

        async def newest(values: Sequence[str]) -> Result | None:
            given = {**selection.labels, **dict(zip(names, values, strict=True))}
            async with limiter:
                return await self._results.newest(submitter, replace(selection, labels=given))

        found = await asyncio.gather(*map(newest, sorted(groups)))
        return [result for result in found if result is not None]


def check_names(names: Sequence[str]) -> None:
    """Raise `BadRequest` unless `names` are one to four different names of labels."""
    if not 1 <= len(names) <= labels.MAX_LABELS:
        raise BadRequest(f"expected 1 to {labels.MAX_LABELS} names of labels, got {len(names)} - at `groupBy`")
    for index, name in enumerate(names):
        if not labels.is_name(name):
            raise BadRequest(f"{labels.invalid_name(name).message} - at `groupBy[{index}]`")
    if len(set(names)) < len(names):
        raise BadRequest("expected each name once - at `groupBy`")


def too_many_groups() -> TooComplex:
    """Return the error of a response with too many groups."""
    return TooComplex(
        f"the results are in more than {MAX_GROUPS:,} groups; use a narrower filter or fewer labels", limit="max_groups"
    )


def _labels_of(document: Any) -> Labels:
    return labels.from_fields(encoding.from_document(document))
