"""The client for programs without an event loop. It runs an `AsyncClient` in a background thread."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self, cast

from dropzone.async_client import AsyncClient
from dropzone.background import BackgroundLoop
from dropzone.encoding import texts
from dropzone.errors import DropzoneError
from dropzone.results import Bucket, Group, RemovalEdge, Result, ResultEdge, ResultQuery, TimeBucket
from dropzone.samples import Receipt, Retention, Sample, SampleFilter, SettledSample
from dropzone.sign_in.credentials import Identity, Token
from dropzone.statistics import ResultFilter, ResultOrder, Summary
from dropzone.submission import SampleLike
from dropzone.submission.feed import SampleFeed


class Client:
    """A client of the server at `url`. The key or token authenticates it. `with` closes its connections.

    Arguments, methods and errors are the same as in `AsyncClient`. An iterator sends requests while it is read. If you
    do not read an iterator to its end, call its `close` method or close the client.
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
        self._client = AsyncClient(url, key, token=token, submitter=submitter, retry_seconds=retry_seconds)
        self._background = BackgroundLoop(self._client.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and stop the thread.

        If another thread waits for a response or iterates, it gets the error `ClientClosed`.
        """
        self._background.close()

    def ping(self) -> None:
        """Send one query without retries. Raises an error if the server is unreachable or refuses the key."""
        self._background.call(self._client.ping)

    def whoami(self) -> Identity:
        """Return the submitter and the scopes of the key or token."""
        return self._background.call(self._client.whoami)

    def submit(
        self,
        sample: SampleLike,
        *,
        idempotency_key: str | None = None,
        labels: Mapping[str, str] | None = None,
        supersedes: str | None = None,
    ) -> Receipt:
        """Submit one sample. The state of the receipt is PENDING, or REJECTED with problems.

        `supersedes` is the id of a sample that this sample corrects.
        """
        return self._background.call(
            lambda: self._client.submit(sample, idempotency_key=idempotency_key, labels=labels, supersedes=supersedes)
        )

    def submit_many(
        self, samples: Iterable[SampleLike], *, concurrency: int = 64, labels: Mapping[str, str] | None = None
    ) -> Iterator[Receipt | DropzoneError]:
        """Submit samples concurrently. Yield a receipt or an error for each sample, in the order of the samples.

        Nothing is submitted before the receipts are read: use a loop, or `list`. Reading the receipts also iterates
        over the samples, in the same thread. While this thread waits for the next sample, the earlier samples are sent.
        """
        submit = partial(self._client.submit_many, concurrency=concurrency, labels=labels)
        return SampleFeed(self._background, submit).receipts(samples)

    def sample(self, sample_id: str) -> Sample:
        """Return a sample, with its result if the sample has one. Raises `NotFound` if the sample does not exist."""
        return self._background.call(lambda: self._client.sample(sample_id))

    def raw(self, sample_id: str) -> bytes:
        """Return the submitted bytes of a sample, unchanged. Raises `NotFound` if the sample does not exist."""
        return self._background.call(lambda: self._client.raw(sample_id))

    def result(self, sample_id: str) -> Result | None:
        """Return the result of a sample, or None if the sample has no result yet or does not exist."""
        return self._background.call(lambda: self._client.result(sample_id))

    def wait(self, sample_ids: Iterable[str]) -> Iterator[SettledSample]:
        """Yield each sample as soon as its state is not PENDING any more.

        Raises `NotFound` if one of the samples does not exist.
        """
        return self._background.iterate(lambda: self._client.wait(texts(sample_ids, "ids")))

    def results(
        self,
        where: ResultFilter | None = None,
        order_by: ResultOrder | None = None,
        limit: int | None = None,
    ) -> ResultQuery:
        """Return results to iterate over, or to read as a table with `to_arrow`, `to_pandas` or `to_polars`.

        The default order is by time stamp, the latest first.
        """
        query = self._client.results(where, order_by, limit)
        return ResultQuery(
            query, self._background.iterate(lambda: cast("AsyncGenerator[Result, None]", query)), self._background.call
        )

    def samples(self, where: SampleFilter | None = None, limit: int | None = None) -> Iterator[Sample]:
        """Yield samples, the newest first."""
        return self._background.iterate(lambda: self._client.samples(where, limit))

    def newest_cursor(self) -> str | None:
        """Return the cursor of the newest result, or None without results. `watch` accepts the cursor as `after`."""
        return self._background.call(self._client.newest_cursor)

    def watch(self, where: ResultFilter | None = None, after: str | None = None) -> Iterator[ResultEdge]:
        """Yield each result once, in the order in which the results are stored. The iteration has no end.

        It starts with the results after the cursor `after`, or with all stored results if `after` is an empty string.
        """
        return self._background.iterate(lambda: self._client.watch(where, after))

    def removals(self, after: str | None = None) -> Iterator[RemovalEdge]:
        """Yield each sample that is deleted or superseded, once, in order. The iteration has no end.

        Without `after`, it starts with the removals after the newest result was stored. With an empty string, or if no
        result is stored, it starts with the first stored removal.
        """
        return self._background.iterate(lambda: self._client.removals(after))

    def summary(self, where: ResultFilter | None = None) -> Summary:
        """Return the statistics of all values of the matching results."""
        return self._background.call(lambda: self._client.summary(where))

    def over_time(
        self, bucket: TimeBucket, where: ResultFilter | None = None, group_by: Sequence[str] = ()
    ) -> list[Bucket]:
        """Return one summary per time bucket and group of equal labels. Buckets without results are omitted."""
        return self._background.call(lambda: self._client.over_time(bucket, where, group_by))

    def groups(self, group_by: Sequence[str], where: ResultFilter | None = None) -> list[Group]:
        """Return one summary per group of matching results with equal labels. `group_by` has the names of labels."""
        return self._background.call(lambda: self._client.groups(group_by, where))

    def latest(self, group_by: Sequence[str], where: ResultFilter | None = None) -> list[Result]:
        """Return the result with the latest time stamp of each group of matching results with equal labels."""
        return self._background.call(lambda: self._client.latest(group_by, where))

    def delete(
        self, sample_ids: Iterable[str] | None = None, where: SampleFilter | None = None, *, reason: str = ""
    ) -> int:
        """Delete samples with their results, and return how many were deleted. Pass ids or a filter."""
        ids = None if sample_ids is None else texts(sample_ids, "ids")
        return self._background.call(lambda: self._client.delete(ids, where, reason=reason))

    def retention(self) -> Retention:
        """Return how long samples that are submitted now, and their results, are kept."""
        return self._background.call(self._client.retention)

    def set_retention(self, retention: Retention | None) -> Retention:
        """Change how long samples that are submitted later, and their results, are kept. Return the retention.

        None means the default of the server.
        """
        return self._background.call(lambda: self._client.set_retention(retention))

    def skips_missing_values(self) -> bool:
        """Return whether nulls in `data` are left out of all samples, as with `missing: "skip"`."""
        return self._background.call(self._client.skips_missing_values)

    def skip_missing_values(self, is_on: bool) -> None:
        """Change whether nulls in `data` are left out of all samples. Requires a key with the scope `admin`."""
        self._background.call(lambda: self._client.skip_missing_values(is_on))

    def label_names(self) -> list[str]:
        """Return the names of all labels of results, in alphabetical order."""
        return self._background.call(self._client.label_names)

    def label_values(self, name: str) -> list[str]:
        """Return the values of a label, in alphabetical order."""
        return self._background.call(lambda: self._client.label_values(name))
