"""The client for programs with an event loop."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, Self

from dropzone.encoding import parse_time
from dropzone.errors import ABOUT_ONE_SAMPLE, TRANSIENT, DropzoneError, NotFound, Unauthenticated, Unavailable
from dropzone.result_stream import ResultStream, newest_cursor
from dropzone.results import AsyncResultQuery, Bucket, Group, Result, ResultEdge, TimeBucket, export_parameters
from dropzone.samples import Receipt, Retention, Sample, SampleFilter, SampleState, SettledSample
from dropzone.sign_in.credentials import Credentials, Token
from dropzone.sign_in.identity import Identity
from dropzone.statistics import ResultFilter, ResultOrder, Summary, parse_labels
from dropzone.submission import SampleLike, check_labels, content_key, encode, in_batches, map_in_order
from dropzone.transport import operations
from dropzone.transport.connection import Connection
from dropzone.transport.retry import retrying

DEFAULT_URL = "http://127.0.0.1:8000"
_PAGE_SIZE = 500
_MAX_IDS = 1_000
_REPEATED = (type(None), *TRANSIENT)
_FIRST_POLL_SECONDS, _MAX_POLL_SECONDS = 0.05, 1.0


class AsyncClient:
    """A client of the server at `url`. The API key `key`, or the access token `token`, authenticates it.

    `token` may be a function that returns the current token, so that a client outlives its first token. `async with`
    closes the connections. With `submitter`, the client reads what this submitter has. The key needs the scope
    `read-all` for another submitter than its own, and can change nothing.

    The defaults of `url` and `key` are the environment variables `DROPZONE_URL` and `DROPZONE_KEY`. A request that
    fails for a transient reason is retried with exponential backoff until `retry_seconds` have passed. Every error is a
    `DropzoneError`.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        token: Token | None = None,
        submitter: str | None = None,
        retry_seconds: float = 60.0,
    ) -> None:
        key = key or (os.environ.get("DROPZONE_KEY", "") if token is None else "")
        if not key and token is None:
            raise Unauthenticated("an API key is required: pass `key` or `token`, or set DROPZONE_KEY")
        if key and token is not None:
            raise ValueError("expected `key` or `token`, got both")
        credentials = Credentials(key, token, submitter)
        self._connection = Connection(url or os.environ.get("DROPZONE_URL", DEFAULT_URL), credentials)
        self._retry_seconds = retry_seconds
        self._retry = retrying(retry_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()

    async def ping(self) -> None:
        """Send one query without retries. Raises an error if the server is unreachable or refuses the key."""
        await self._connection.query(operations.PING)

    async def whoami(self) -> Identity:
        """Return the submitter and the scopes of the key or token."""
        return Identity.parse(await self._retry(self._connection.get_session))

    async def submit(
        self,
        sample: SampleLike,
        *,
        idempotency_key: str | None = None,
        labels: Mapping[str, str] | None = None,
        supersedes: str | None = None,
    ) -> Receipt:
        """Submit one sample. The state of the receipt is PENDING, or REJECTED with problems.

        The idempotency key derives from the content, so the server stores the same content once. To store the content
        again, pass another `idempotency_key`, or set the member `idempotency_key` of the sample.

        The sample has `labels` in addition to the labels in its member `labels`. `supersedes` is the id of a sample
        that this sample corrects: its result leaves all lists and summaries.
        """
        raw, labels = encode(sample), labels or {}
        check_labels(labels)
        key = idempotency_key or content_key(raw, labels)
        return await self._retry(self._connection.post_sample, raw, key, labels, supersedes)

    async def submit_many(
        self,
        samples: Iterable[SampleLike] | AsyncIterable[SampleLike],
        *,
        concurrency: int = 64,
        labels: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Receipt | DropzoneError, None]:
        """Submit samples concurrently and yield the receipts in the order of the samples.

        If one sample cannot be stored, its error is yielded instead of a receipt. An error that concerns all samples,
        such as an unknown key, is raised. A sample with a receipt is stored. If you submit all samples again, the
        server still stores each sample once. The samples have `labels` in addition to their own labels.
        """
        send = partial(self._submit_batch, labels or {})
        async with (
            aclosing(in_batches(samples)) as batches,
            aclosing(map_in_order(batches, send, _size, concurrency)) as sent,
        ):
            async for receipts in sent:
                for receipt in receipts:
                    yield receipt

    async def sample(self, sample_id: str) -> Sample:
        """Return a sample, with its result if the sample has one. Raises `NotFound` if the sample does not exist."""
        values = (await self._query(operations.SAMPLE, {"id": sample_id}))["sample"]
        if values is None:
            raise await self._not_found(sample_id)
        return Sample.parse(values)

    async def raw(self, sample_id: str) -> bytes:
        """Return the submitted bytes of a sample, unchanged. Raises `NotFound` if the sample does not exist."""
        try:
            return await self._retry(self._connection.get_sample, sample_id)
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
        pending = list(dict.fromkeys(sample_ids))
        poll_seconds = _FIRST_POLL_SECONDS
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
                await asyncio.sleep(poll_seconds)
                poll_seconds = min(2 * poll_seconds, _MAX_POLL_SECONDS)

    def results(
        self,
        where: ResultFilter | None = None,
        order_by: ResultOrder | None = None,
        limit: int | None = None,
    ) -> AsyncResultQuery:
        """Return results to iterate over page by page, or to read as a table with `to_arrow` and other methods.

        The default order is by time stamp, the latest first.
        """
        parameters = export_parameters(where, order_by)
        export = partial(self._retry, self._connection.get_results, parameters)
        return AsyncResultQuery(self._results(where, order_by, limit), export, limit)

    async def _results(
        self, where: ResultFilter | None, order_by: ResultOrder | None, limit: int | None
    ) -> AsyncGenerator[Result, None]:
        variables: dict[str, Any] = {"filter": where and where.variables()}
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
        variables = {"filter": where and where.variables()}
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

        `after` is the cursor of an earlier result: the stream starts with the results stored after that result. If the
        connection breaks or the server restarts, the stream resumes without a gap and the logger `dropzone` logs a
        warning.
        """
        stream = ResultStream(self._connection, where, after, self._retry_seconds)
        async with aclosing(stream.edges()) as edges:
            async for edge in edges:
                yield edge

    async def summary(self, where: ResultFilter | None = None) -> Summary:
        """Return the statistics of all values of the matching results."""
        variables = {"filter": where and where.variables()}
        return Summary.parse((await self._query(operations.SUMMARY, variables))["summary"])

    async def over_time(
        self,
        bucket: TimeBucket,
        where: ResultFilter | None = None,
        group_by: Sequence[str] = (),
    ) -> list[Bucket]:
        """Return one summary per time bucket and group of equal labels. Buckets without results are omitted.

        `group_by` has the names of labels. By default, all results are in one group.
        """
        variables = {"filter": where and where.variables(), "bucket": bucket.value, "groupBy": list(group_by)}
        buckets = (await self._query(operations.OVER_TIME, variables))["buckets"]
        return [
            Bucket(parse_time(values["start"]), Summary.parse(values), parse_labels(values["labels"]))
            for values in buckets
        ]

    async def groups(self, group_by: Sequence[str], where: ResultFilter | None = None) -> list[Group]:
        """Return one summary per group of matching results with equal labels. `group_by` has the names of labels."""
        variables = {"filter": where and where.variables(), "groupBy": list(group_by)}
        groups = (await self._query(operations.GROUPS, variables))["summary"]["groups"]
        return [Group(parse_labels(values["labels"]), Summary.parse(values)) for values in groups]

    async def latest(self, group_by: Sequence[str], where: ResultFilter | None = None) -> list[Result]:
        """Return the result with the latest time stamp of each group of matching results with equal labels.

        `group_by` has the names of labels. Results without one of these labels are left out.
        """
        variables = {"filter": where and where.variables(), "groupBy": list(group_by)}
        return [Result.parse(values) for values in (await self._query(operations.LATEST, variables))["results"]]

    async def delete(
        self,
        sample_ids: Iterable[str] | None = None,
        where: SampleFilter | None = None,
        *,
        reason: str = "",
    ) -> int:
        """Delete samples with their results, and return how many were deleted. Pass ids or a filter.

        Requires a key with the scope `admin`. Ids of samples that do not exist are skipped. Raises `Unavailable` if the
        deletion was interrupted. To continue, call this method again.
        """
        deleted = 0
        ids = None if sample_ids is None else list(sample_ids)
        parts = [None] if ids is None else [ids[start : start + _MAX_IDS] for start in range(0, len(ids), _MAX_IDS)]
        for part in parts:
            variables = {"ids": part, "filter": where and where.variables(), "reason": reason}
            deletion_id = (await self._query(operations.DELETE, variables))["deletion"]["id"]
            poll_seconds = _FIRST_POLL_SECONDS
            while (progress := await self._deletion(deletion_id))["state"] == "RUNNING":
                await asyncio.sleep(poll_seconds)
                poll_seconds = min(2 * poll_seconds, _MAX_POLL_SECONDS)
            deleted += progress["deleted"]
            if progress["state"] != "FINISHED":
                raise Unavailable(f"the deletion was interrupted after {deleted:,} samples; repeat it to continue")
        return deleted

    async def _deletion(self, deletion_id: str) -> dict[str, Any]:
        progress: dict[str, Any] = (await self._query(operations.DELETION, {"id": deletion_id}))["deletion"]
        return progress

    async def _not_found(self, sample_id: str) -> NotFound:
        """Return the error for a sample that does not exist. It says when and why the sample was deleted, if it was."""
        deleted = (await self._query(operations.DELETED_SAMPLE, {"id": sample_id}))["deleted"]
        if deleted is None:
            return NotFound(f"sample {sample_id} does not exist")
        reason = deleted["reason"] or "no reason was given"
        return NotFound(f"sample {sample_id} was deleted at {deleted['deletedAt']}: {reason}")

    async def retention(self) -> Retention:
        """Return for how long samples and results that are submitted now are kept."""
        return Retention.parse((await self._query(operations.RETENTION))["retention"])

    async def set_retention(self, retention: Retention | None) -> Retention:
        """Change for how long samples that are submitted afterwards, and their results, are kept. Return the retention.

        None: use the default of the server. Requires a key with the scope `admin`.
        """
        given = retention or Retention()
        variables = {
            "sampleDays": given.sample_days,
            "resultDays": given.result_days,
            "useDefault": retention is None,
        }
        return Retention.parse((await self._query(operations.SET_RETENTION, variables))["retention"])

    async def skips_missing_values(self) -> bool:
        """Return whether nulls in `data` are left out of all samples, as with `missing: "skip"`."""
        return bool((await self._query(operations.SKIPS_MISSING))["skips"])

    async def skip_missing_values(self, is_on: bool) -> None:
        """Change whether nulls in `data` are left out of all samples. Requires a key with the scope `admin`."""
        await self._query(operations.SKIP_MISSING, {"on": is_on})

    async def label_names(self) -> list[str]:
        """Return the names of all labels of results, in alphabetical order."""
        names: list[str] = (await self._query(operations.LABEL_NAMES))["names"]
        return names

    async def label_values(self, name: str) -> list[str]:
        """Return the values of a label, in alphabetical order."""
        values: list[str] = (await self._query(operations.LABEL_VALUES, {"name": name}))["values"]
        return values

    async def _submit_batch(
        self, labels: Mapping[str, str], samples: Sequence[SampleLike]
    ) -> list[Receipt | DropzoneError]:
        """Submit a sample, or several samples that can be lines. Return a receipt or an error for each sample."""
        try:
            if len(samples) == 1:
                return [await self.submit(samples[0], labels=labels)]
            return await self._submit_lines(labels, [encode(sample) for sample in samples])
        except ABOUT_ONE_SAMPLE as error:
            return [error] * len(samples)

    async def _submit_lines(self, labels: Mapping[str, str], lines: Sequence[bytes]) -> list[Receipt | DropzoneError]:
        check_labels(labels)
        outcomes: dict[int, Receipt | DropzoneError] = {}

        async def send() -> None:
            """Send the lines that have no final outcome. Raises the first error that a retry can fix."""
            missing = [number for number in range(len(lines)) if isinstance(outcomes.get(number), _REPEATED)]
            sent = await self._connection.post_lines([lines[number] for number in missing], labels)
            outcomes.update(zip(missing, sent, strict=True))
            for outcome in sent:
                if isinstance(outcome, DropzoneError) and not isinstance(outcome, ABOUT_ONE_SAMPLE):
                    raise outcome

        await self._retry(send)
        return [outcomes[number] for number in range(len(lines))]

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


def _size(samples: Sequence[SampleLike]) -> int:
    return sum(len(sample) for sample in samples if isinstance(sample, bytes | str))
