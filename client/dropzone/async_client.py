"""The client for programs with an event loop."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, Self

from dropzone.async_reader import AsyncReader, poll_pauses
from dropzone.encoding import as_labels, checked, seconds, text, texts, whole_number
from dropzone.errors import (
    ABOUT_ONE_SAMPLE,
    TRANSIENT,
    DropzoneError,
    Unauthenticated,
    Unavailable,
    UnusableSample,
)
from dropzone.samples import Receipt, Retention, SampleFilter
from dropzone.sign_in.credentials import Credentials, Identity, Token
from dropzone.submission.batches import Batch, in_batches, map_in_order, size
from dropzone.submission.sample_bytes import (
    SampleLike,
    check_header,
    check_labels,
    content_key,
    encode,
)
from dropzone.transport import operations
from dropzone.transport.addresses import parse_url
from dropzone.transport.connection import Connection

DEFAULT_URL = "http://127.0.0.1:8000"
_MAX_IDS = 1_000
_REPEATED = (type(None), *TRANSIENT)


class AsyncClient(AsyncReader):
    """A client of the server at `url`. The API key `key`, or the access token `token`, authenticates it.

    `token` may be a function that returns the current token, so that a client can be used after its first token has
    expired. `async with` closes the connections. With `submitter`, the client reads the samples and results of this
    submitter. If the key belongs to another submitter, the key needs the scope `read-all`, and the client can only
    read.

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
        url = text(url or os.environ.get("DROPZONE_URL", DEFAULT_URL), "a URL")
        key = text(key or (os.environ.get("DROPZONE_KEY", "") if token is None else ""), "an API key").strip()
        if not key and token is None:
            raise Unauthenticated("an API key is required: pass `key` or `token`, or set DROPZONE_KEY")
        if key and token is not None:
            raise ValueError("expected `key` or `token`, got both")
        if token is not None and parse_url(url).user is not None:
            raise ValueError("expected a URL without a password, because requests with a token cannot contain both")
        retry_seconds = seconds(retry_seconds, "`retry_seconds`")
        super().__init__(Connection(url, Credentials(key, token, submitter)), retry_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. Requests in progress and later requests raise `ClientClosed`."""
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

        The idempotency key is derived from the content, so the server stores the same content only once. To store it
        again, pass another `idempotency_key`, or set the member `idempotency_key` of the sample.

        The sample has `labels` in addition to the labels in its member `labels`. `supersedes` is the id of a sample
        that this sample corrects. Lists and summaries then omit the result of that sample.
        """
        raw, labels = encode(sample), as_labels(labels)
        check_labels(labels)
        check_header("an idempotency key", idempotency_key)
        check_header("the id of a sample", supersedes)
        key = idempotency_key or content_key(raw, labels, supersedes)
        return await self._retry(self._connection.post_sample, raw, key, labels, supersedes)

    async def submit_many(
        self,
        samples: Iterable[SampleLike] | AsyncIterable[SampleLike | UnusableSample],
        *,
        concurrency: int = 64,
        labels: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Receipt | DropzoneError, None]:
        """Submit samples concurrently and yield the receipts in the order of the samples.

        If a sample cannot be stored, its error is yielded instead of a receipt. An error that concerns all samples,
        such as an unknown key, is raised. A sample with a receipt is stored. If you submit all samples again, the
        server still stores each sample only once. The samples have `labels` in addition to their own labels.

        An iterable that is not asynchronous runs in the event loop, so it must not wait. If an exception ends the
        iteration of the samples, it is raised after the receipts of the samples before it.
        """
        concurrency = whole_number(concurrency, "a concurrency", 1)
        send = partial(self._submit_batch, as_labels(labels))
        async with (
            aclosing(in_batches(samples)) as batches,
            aclosing(map_in_order(batches, send, size, concurrency)) as sent,
        ):
            async for receipts in sent:
                for receipt in receipts:
                    yield receipt

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
        deleted, where = 0, checked(where, SampleFilter)
        ids = None if sample_ids is None else texts(sample_ids, "ids")
        parts = [None] if ids is None else [ids[start : start + _MAX_IDS] for start in range(0, len(ids), _MAX_IDS)]
        for part in parts:
            variables = {"ids": part, "filter": where and where.variables(), "reason": reason}
            deletion_id = (await self._query(operations.DELETE, variables))["deletion"]["id"]
            for pause in poll_pauses():
                progress = await self._deletion(deletion_id)
                if progress["state"] != "RUNNING":
                    break
                await asyncio.sleep(pause)
            deleted += progress["deleted"]
            if progress["state"] != "FINISHED":
                raise Unavailable(f"the deletion was interrupted after {deleted:,} samples; repeat it to continue")
        return deleted

    async def _deletion(self, deletion_id: str) -> dict[str, Any]:
        progress: dict[str, Any] = (await self._query(operations.DELETION, {"id": deletion_id}))["deletion"]
        return progress

    async def set_retention(self, retention: Retention | None) -> Retention:
        """Change how long samples and results are kept. Return the new retention.

        The change applies to samples that are submitted later. None means the default of the server. Requires a key
        with the scope `admin`.
        """
        given = checked(retention, Retention) or Retention()
        variables = {
            "sampleDays": given.sample_days,
            "resultDays": given.result_days,
            "hourly": given.hourly and {"days": given.hourly.days},
            "useDefault": retention is None,
        }
        return Retention.parse((await self._query(operations.SET_RETENTION, variables))["retention"])

    async def skip_missing_values(self, is_on: bool) -> None:
        """Change whether the statistics leave out nulls in `data`. Requires a key with the scope `admin`."""
        await self._query(operations.SKIP_MISSING, {"on": is_on})

    async def _submit_batch(self, labels: Mapping[str, str], batch: Batch) -> list[Receipt | DropzoneError]:
        """Submit a sample, or several samples as lines of one request. Return a receipt or an error for each sample."""
        if isinstance(batch, UnusableSample):
            return [batch]
        try:
            if len(batch) == 1:
                return [await self.submit(batch[0], labels=labels)]
            return await self._submit_lines(labels, batch)
        except ABOUT_ONE_SAMPLE as error:
            return [error] * len(batch)

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
