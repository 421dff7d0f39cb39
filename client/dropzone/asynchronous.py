"""The client for programs that run an event loop."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypeVar

from dropzone import operations
from dropzone.connection import Connection
from dropzone.errors import ABOUT_ONE_SAMPLE, DropzoneError, NotFound, Unauthenticated
from dropzone.filters import ResultFilter, ResultOrder, SampleFilter
from dropzone.following import Following, newest_cursor
from dropzone.model import (
    Bucket,
    Receipt,
    Result,
    ResultEdge,
    Sample,
    SampleState,
    Summary,
    TimeBucket,
    moment,
    problems,
)
from dropzone.submission import SampleLike, content_key, encode, in_order

DEFAULT_URL = "http://127.0.0.1:8000"
_PAGE = 500
_FIRST_LOOK_SECONDS, _MAX_LOOK_SECONDS = 0.05, 1.0

T = TypeVar("T")


class AsyncClient:
    """Dropzone at one address, with one key; `async with` closes its connections.

    `url` and `key` are read from `DROPZONE_URL` and `DROPZONE_KEY` unless they are given. Whatever the server or the
    network refuse for the moment is asked again for `patience` seconds, with growing pauses. Every error is a
    `DropzoneError`.
    """

    def __init__(self, url: str | None = None, key: str | None = None, *, patience: float = 60.0) -> None:
        key = key or os.environ.get("DROPZONE_KEY", "")
        if not key:
            raise Unauthenticated("there is no key: give one, or set DROPZONE_KEY")
        self._connection = Connection(url or os.environ.get("DROPZONE_URL", DEFAULT_URL), key, patience)

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
        """Ask for nothing, once: raises where nothing answers or the key is not taken."""
        await self._connection.query(operations.PING)

    async def submit(self, sample: SampleLike, *, idempotency_key: str | None = None) -> Receipt:
        """Submit one sample; the receipt says PENDING, or REJECTED with its problems.

        The same content is stored once, however often it is submitted; another `idempotency_key` makes it another
        sample. A member `idempotency_key` of the sample does as well.
        """
        raw = encode(sample)
        key = idempotency_key or content_key(raw)
        return await self._connection.retrying(lambda: self._connection.post_sample(raw, key))

    async def submit_many(
        self, samples: Iterable[SampleLike] | AsyncIterable[SampleLike], *, concurrency: int = 64
    ) -> AsyncGenerator[Receipt | DropzoneError, None]:
        """Submit any number of samples and yield a receipt for each, in their order, as soon as it is known.

        In place of a receipt there is the error where one sample cannot be taken. What would meet all the others too,
        such as an unknown key or a server that stays away, is raised: what has a receipt then is stored, and
        submitting everything again stores nothing twice.
        """
        async with aclosing(in_order(samples, self._submit_for_itself, _size, concurrency)) as receipts:
            async for receipt in receipts:
                yield receipt

    async def sample(self, sample_id: str) -> Sample:
        """Return a sample, with its result where there is one. Raises `NotFound`."""
        found = (await self._query(operations.SAMPLE, {"id": sample_id}))["sample"]
        if found is None:
            raise NotFound(f"there is no sample {sample_id}")
        return Sample.parse(found)

    async def raw(self, sample_id: str) -> bytes:
        """Return a sample byte for byte as it was submitted. Raises `NotFound`."""
        return await self._connection.retrying(lambda: self._connection.get_sample(sample_id))

    async def result(self, sample_id: str) -> Result | None:
        """Return the result of a sample, None where there is none (yet)."""
        found = (await self._query(operations.RESULT, {"id": sample_id}))["result"]
        return None if found is None else Result.parse(found)

    async def wait(self, sample_ids: Iterable[str]) -> AsyncGenerator[Receipt, None]:
        """Yield each of these samples once it is COMPUTED, FAILED or REJECTED, in the order in which that is seen."""
        waiting = list(dict.fromkeys(sample_ids))
        pause = _FIRST_LOOK_SECONDS
        while waiting:
            still: list[str] = []
            for start in range(0, len(waiting), operations.MAX_CONCURRENT):
                asked = waiting[start : start + operations.MAX_CONCURRENT]
                document, variables = operations.states(asked)
                found = await self._query(document, variables)
                for sample_id, seen in zip(asked, found.values(), strict=True):
                    if seen is None:
                        raise NotFound(f"there is no sample {sample_id}")
                    if seen["state"] == SampleState.PENDING:
                        still.append(sample_id)
                    else:
                        yield Receipt(seen["id"], SampleState(seen["state"]), problems(seen))
            waiting = still
            if waiting:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _MAX_LOOK_SECONDS)

    async def results(
        self,
        where: ResultFilter | None = None,
        order_by: ResultOrder | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Result, None]:
        """Yield results, the latest time stamp first unless said otherwise; pages are fetched as they are needed."""
        variables: dict[str, Any] = {"filter": where and where.variables()}
        if order_by is not None:
            variables["orderBy"] = order_by.variables()
        async with aclosing(self._pages(operations.RESULTS, variables, limit)) as nodes:
            async for node in nodes:
                yield Result.parse(node)

    async def samples(
        self,
        where: SampleFilter | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Sample, None]:
        """Yield samples, the newest first; pages are fetched as they are needed."""
        variables = {"filter": where and where.variables()}
        async with aclosing(self._pages(operations.SAMPLES, variables, limit)) as nodes:
            async for node in nodes:
                yield Sample.parse(node)

    async def cursor(self) -> str | None:
        """Return the place behind all results that there are, from which one can watch; None while there are none."""
        return await self._connection.retrying(lambda: newest_cursor(self._connection))

    async def watch(
        self,
        where: ResultFilter | None = None,
        after: str | None = None,
    ) -> AsyncGenerator[ResultEdge, None]:
        """Yield results as they are stored, each once and in order, for ever.

        With `after`, the cursor of an earlier edge, those that were stored behind it come first. Broken connections and
        restarts of the server are bridged without a gap, however long they take; each is logged as a warning of the
        logger `dropzone`.
        """
        async with aclosing(Following(self._connection, where, after).edges()) as edges:
            async for edge in edges:
                yield edge

    async def summary(self, where: ResultFilter | None = None) -> Summary:
        """Return the statistics of the values of many results taken together."""
        return Summary.parse(
            (await self._query(operations.SUMMARY, {"filter": where and where.variables()}))["summary"]
        )

    async def over_time(
        self,
        bucket: TimeBucket,
        where: ResultFilter | None = None,
    ) -> list[Bucket]:
        """Return the same for each stretch of time that has results."""
        variables = {"filter": where and where.variables(), "bucket": bucket.value}
        found = (await self._query(operations.OVER_TIME, variables))["buckets"]
        return [Bucket(moment(given["start"]), Summary.parse(given)) for given in found]

    async def _submit_for_itself(self, sample: SampleLike) -> Receipt | DropzoneError:
        try:
            return await self.submit(sample)
        except ABOUT_ONE_SAMPLE as error:
            return error

    async def _query(self, document: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        return await self._connection.retrying(lambda: self._connection.query(document, variables))

    async def _pages(self, document: str, variables: dict[str, Any], limit: int | None) -> AsyncGenerator[Any, None]:
        left = limit
        after: str | None = None
        while left is None or left > 0:
            first = _PAGE if left is None else min(left, _PAGE)
            page = (await self._query(document, variables | {"first": first, "after": after}))["page"]
            for edge in page["edges"]:
                yield edge["node"]
            left = None if left is None else left - len(page["edges"])
            if not page["pageInfo"]["hasNextPage"]:
                break
            after = page["pageInfo"]["endCursor"]


def _size(sample: SampleLike) -> int:
    return len(sample) if isinstance(sample, bytes | str) else 0
