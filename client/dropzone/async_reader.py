"""The reading methods of a client: samples, results, summaries, labels and settings."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from dropzone.encoding import checked, choice, parse_time, text, texts, whole_number
from dropzone.errors import NotFound
from dropzone.results import (
    AsyncResultQuery,
    Bucket,
    Group,
    RemovalEdge,
    Result,
    ResultEdge,
    TimeBucket,
    export_parameters,
)
from dropzone.samples import Retention, Sample, SampleFilter, SampleState, SettledSample
from dropzone.statistics import ResultFilter, ResultOrder, Summary, parse_labels
from dropzone.streams import RemovalStream, ResultStream, newest_cursor
from dropzone.transport import operations
from dropzone.transport.connection import Connection
from dropzone.transport.retry import retrying

_FIRST_POLL_SECONDS, _MAX_POLL_SECONDS = 0.05, 1.0
_PAGE_SIZE = 500


class AsyncReader:
    """The methods of `AsyncClient` that only read."""

    def __init__(self, connection: Connection, retry_seconds: float) -> None:
        self._connection = connection
        self._retry_seconds = retry_seconds
        self._retry = retrying(retry_seconds)

    async def sample(self, sample_id: str) -> Sample:
        """Return a sample, with its result if the sample has one. Raises `NotFound` if the sample does not exist."""
        values = (await self._query(operations.SAMPLE, {"id": sample_id}))["sample"]
        if values is None:
            raise await self._not_found(sample_id)
        return Sample.parse(values)

    async def raw(self, sample_id: str) -> bytes:
        """Return the submitted bytes of a sample, unchanged. Raises `NotFound` if the sample does not exist."""
        try:
            return await self._retry(self._connection.get_sample, text(sample_id, "an id"))
        except NotFound:
            raise await self._not_found(sample_id) from None

    async def result(self, sample_id: str) -> Result | None:
        """Return the result of a sample, or None if the sample has no result yet or does not exist."""
        values = (await self._query(operations.RESULT, {"id": sample_id}))["result"]
        return None if values is None else Result.parse(values)

    async def wait(self, sample_ids: Iterable[str]) -> AsyncGenerator[SettledSample, None]:
        """Poll the samples. Yield each sample as soon as its state is not PENDING any more.

        Raises `NotFound` if one of the samples does not exist.
        """
        pending, pauses = list(dict.fromkeys(texts(sample_ids, "ids"))), poll_pauses()
        while pending:
            still_pending: list[str] = []
            for start in range(0, len(pending), operations.MAX_SETTLED_IDS):
                ids = pending[start : start + operations.MAX_SETTLED_IDS]
                samples = await self._query(*operations.settled(ids))
                for sample_id, values in zip(ids, samples.values(), strict=True):
                    if values is None:
                        raise await self._not_found(sample_id)
                    if values["state"] == SampleState.PENDING:
                        still_pending.append(sample_id)
                    else:
                        yield SettledSample.parse(values)
            pending = still_pending
            if pending:
                await asyncio.sleep(next(pauses))

    def results(
        self,
        where: ResultFilter | None = None,
        order_by: ResultOrder | None = None,
        limit: int | None = None,
    ) -> AsyncResultQuery:
        """Return results to iterate over page by page, or to read as a table with `to_arrow` and other methods.

        The default order is by time stamp, the latest first.
        """
        limit = None if limit is None else whole_number(limit, "a limit")
        where, order_by = checked(where, ResultFilter), checked(order_by, ResultOrder)
        parameters = export_parameters(where, order_by, limit)
        export = partial(self._retry, self._connection.get_results, parameters)
        return AsyncResultQuery(self._results(where, order_by, limit), export)

    async def _results(
        self, where: ResultFilter | None, order_by: ResultOrder | None, limit: int | None
    ) -> AsyncGenerator[Result, None]:
        variables: dict[str, Any] = {"filter": _variables(where)}
        if order_by is not None:
            variables["orderBy"] = order_by.variables()
        async with aclosing(self._nodes(operations.RESULTS, variables, limit)) as nodes:
            async for node in nodes:
                yield Result.parse(node)

    async def samples(
        self,
        where: SampleFilter | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Sample, None]:
        """Yield samples page by page, the newest first."""
        limit = None if limit is None else whole_number(limit, "a limit")
        variables = {"filter": _variables(where, SampleFilter)}
        async with aclosing(self._nodes(operations.SAMPLES, variables, limit)) as nodes:
            async for node in nodes:
                yield Sample.parse(node)

    async def newest_cursor(self) -> str | None:
        """Return the cursor of the newest result, or None without results. `watch` accepts the cursor as `after`."""
        return await self._retry(newest_cursor, self._connection)

    async def watch(
        self,
        where: ResultFilter | None = None,
        after: str | None = None,
    ) -> AsyncGenerator[ResultEdge, None]:
        """Yield each result once, in the order in which the results are stored. The iteration has no end.

        `after` is the cursor of an earlier result: the stream starts with the results that were stored after this
        result. With an empty string, it starts with the first stored result. If the connection breaks, the server
        restarts or the program reads too slowly, the stream resumes without a gap, and the logger `dropzone` logs a
        warning.
        """
        stream = ResultStream(self._connection, checked(where, ResultFilter), after, self._retry_seconds)
        async with aclosing(stream.edges()) as edges:
            async for edge in edges:
                yield edge

    async def removals(self, after: str | None = None) -> AsyncGenerator[RemovalEdge, None]:
        """Yield each sample that is deleted or superseded, once, in order. The iteration has no end.

        `after` is the cursor of an earlier removal or result: the stream starts with the removals after this cursor.
        Without `after`, the stream starts with the removals after the newest stored result. Some of these removals can
        be older than the call. After a broken connection or a restart of the server, the stream resumes like `watch`.
        With an empty string, or if no result is stored, the stream starts with the first stored removal.
        """
        stream = RemovalStream(self._connection, after, self._retry_seconds)
        async with aclosing(stream.edges()) as edges:
            async for edge in edges:
                yield edge

    async def summary(self, where: ResultFilter | None = None) -> Summary:
        """Return the statistics of all values of the matching results."""
        variables = {"filter": _variables(where)}
        return Summary.parse((await self._query(operations.SUMMARY, variables))["summary"])

    async def over_time(
        self,
        bucket: TimeBucket,
        where: ResultFilter | None = None,
        group_by: Sequence[str] = (),
    ) -> list[Bucket]:
        """Return one summary for each time bucket and group of results. Buckets without results are omitted.

        `group_by` has the names of labels. By default, all results are in one group.
        """
        names = texts(group_by, "names of labels")
        variables = {"filter": _variables(where), "bucket": choice(TimeBucket, bucket).value, "groupBy": names}
        buckets = (await self._query(operations.OVER_TIME, variables))["buckets"]
        return [
            Bucket(parse_time(values["start"]), Summary.parse(values), parse_labels(values["labels"]))
            for values in buckets
        ]

    async def groups(self, group_by: Sequence[str], where: ResultFilter | None = None) -> list[Group]:
        """Group the matching results by the labels in `group_by`, and return one summary for each group."""
        variables = {"filter": _variables(where), "groupBy": texts(group_by, "names of labels")}
        groups = (await self._query(operations.GROUPS, variables))["summary"]["groups"]
        return [Group(parse_labels(values["labels"]), Summary.parse(values)) for values in groups]

    async def latest(self, group_by: Sequence[str], where: ResultFilter | None = None) -> list[Result]:
        """Group the matching results by labels, and return the result with the latest time stamp of each group.

        `group_by` has the names of the labels. Results that do not have all of these labels are left out.
        """
        variables = {"filter": _variables(where), "groupBy": texts(group_by, "names of labels")}
        return [Result.parse(values) for values in (await self._query(operations.LATEST, variables))["results"]]

    async def label_names(self) -> list[str]:
        """Return the names of all labels of results, in alphabetical order."""
        names: list[str] = (await self._query(operations.LABEL_NAMES))["names"]
        return names

    async def label_values(self, name: str) -> list[str]:
        """Return the values of a label, in alphabetical order."""
        values: list[str] = (await self._query(operations.LABEL_VALUES, {"name": name}))["values"]
        return values

    async def retention(self) -> Retention:
        """Return how long samples that are submitted now, and their results, are kept."""
        return Retention.parse((await self._query(operations.RETENTION))["retention"])

    async def skips_missing_values(self) -> bool:
        """Return whether nulls in `data` are left out of all samples, as with `missing: "skip"`."""
        return bool((await self._query(operations.SKIPS_MISSING))["skips"])

    async def _query(self, document: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        return await self._retry(self._connection.query, document, variables)

    async def _nodes(self, document: str, variables: dict[str, Any], limit: int | None) -> AsyncGenerator[Any, None]:
        remaining = limit
        after: str | None = None
        while remaining is None or remaining > 0:
            first = _PAGE_SIZE if remaining is None else min(remaining, _PAGE_SIZE)
            page = (await self._query(document, variables | {"first": first, "after": after}))["page"]
            for edge in page["edges"]:
                yield edge["node"]
            remaining = None if remaining is None else remaining - len(page["edges"])
            if not page["pageInfo"]["hasNextPage"]:
                break
            after = page["pageInfo"]["endCursor"]

    async def _not_found(self, sample_id: str) -> NotFound:
        """Return the error for a sample that does not exist. If the sample was deleted, the error says when and why."""
        deleted = (await self._query(operations.DELETED_SAMPLE, {"id": sample_id}))["deleted"]
        if deleted is None:
            return NotFound(f"sample {sample_id} does not exist")
        reason = deleted["reason"] or "no reason was given"
        return NotFound(f"sample {sample_id} was deleted at {deleted['deletedAt']}: {reason}")


def poll_pauses() -> Iterator[float]:
    """Yield the pauses between polls of one state, in seconds. Each is twice as long as the previous one, up to 1 s."""
    seconds = _FIRST_POLL_SECONDS
    while True:
        yield seconds
        seconds = min(2 * seconds, _MAX_POLL_SECONDS)


def _variables(
    where: ResultFilter | SampleFilter | None, kind: type[ResultFilter | SampleFilter] = ResultFilter
) -> dict[str, Any] | None:
    selected = checked(where, kind)
    return None if selected is None else selected.variables()
