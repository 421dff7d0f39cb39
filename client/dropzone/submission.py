"""Submission of samples: their bytes, their idempotency keys, and concurrent requests in order.

The idempotency key of a sample is derived from its bytes. If a sample is sent again, after a broken connection or by
another run, the server therefore stores it only once. A sample with a member `idempotency_key` is sent without the
header `Idempotency-Key`, because the header would override the member.
"""

import asyncio
import csv
import json
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from datetime import datetime
from hashlib import sha256
from math import isfinite, isnan
from pathlib import Path
from typing import Any, TypeVar

from dropzone.errors import UnusableSample

T = TypeVar("T")
R = TypeVar("R")

SampleLike = bytes | str | Mapping[str, Any]
"""A sample: JSON text, or a mapping that JSON can represent. Its values can also be times and arrays of NumPy."""

_MAX_PENDING_BYTES = 64 * 2**20
_MAX_BATCH_SAMPLES, _MAX_BATCH_BYTES = 100, 256 * 1024
_MAX_BATCH_SECONDS = 0.05
_LABEL_NAME = re.compile("[a-z][a-z0-9_]*", re.ASCII)
_LABEL_COLUMN = "label."
_KEY_MEMBER = b'"idempotency_key"'


def encode(sample: SampleLike) -> bytes:
    """Return the bytes of a sample. Raises `UnusableSample` if JSON cannot represent the sample."""
    if isinstance(sample, bytes):
        return sample
    try:
        if isinstance(sample, str):
            return sample.encode()
        if sample.get("missing") == "skip" and "data" in sample:
            sample = {**sample, "data": _with_nulls(sample["data"])}
        text = json.dumps(sample, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_to_json)
        return text.encode()
    except (TypeError, ValueError) as error:  # JSON cannot represent the object, or the text has a lone surrogate
        raise UnusableSample(f"expected JSON text, or an object that JSON can represent: {error}") from error


def _with_nulls(data: Any) -> list[Any]:
    """Return values with null for each NaN, which marks a missing value in arrays and data frames."""
    values = data.tolist() if hasattr(data, "tolist") else data
    return [None if value != value else value for value in values]


def _to_json(value: object) -> Any:
    """Return a time as text, and an array or a number of NumPy as numbers."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"expected a time with a time zone, got {value}")
        return value.isoformat()
    if (to_list := getattr(value, "tolist", None)) is not None:
        return to_list()
    raise TypeError(f"{type(value).__name__} is not a type of JSON")


def read_csv(file: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the samples of a CSV file, for `submit_many`. See `csv_samples` for the columns.

    Raises `UnusableSample` at the first row that is not part of a sample.
    """
    with Path(file).open(encoding="utf-8-sig", newline="") as lines:
        for number, sample in csv_samples(lines):
            if isinstance(sample, UnusableSample):
                raise UnusableSample(f"{sample} - on line {number}")
            yield sample


def csv_samples(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any] | UnusableSample]]:
    """Yield each sample of a CSV table with the number of its first line, or an error with the number of its line.

    The first row has the names of the columns. The column `time_stamp` is required. A column such as `label.site` has
    the values of a label. All other columns have measured values. Consecutive rows with the same time stamp and labels
    are one sample. An empty cell or NaN is a missing value, and the sample omits it.
    """
    rows = csv.reader(lines, strict=True)
    current: dict[str, Any] | None = None
    started = rows.line_num + 1
    columns: list[str] | None = None
    try:
        for row in rows:
            if not row:
                continue
            if columns is None:
                columns = [name.strip() for name in row]
                if "time_stamp" not in columns:
                    yield rows.line_num, UnusableSample("expected a column with the name time_stamp")
                    return
                continue
            try:
                sample = _csv_row(columns, row)
            except UnusableSample as error:
                yield rows.line_num, error
                continue
            if current is not None and _is_same_sample(current, sample):
                current["data"] += sample.pop("data")
                current |= sample
                continue
            if current is not None:
                yield started, current
            current, started = sample, rows.line_num
    except (csv.Error, UnicodeDecodeError) as error:
        yield rows.line_num + 1, UnusableSample(f"expected CSV in UTF-8: {error}")
    if current is not None:
        yield started, current


def _csv_row(columns: list[str], row: list[str]) -> dict[str, Any]:
    if len(row) != len(columns):
        raise UnusableSample(f"expected {len(columns)} cells, got {len(row)}")
    sample: dict[str, Any] = {"data": []}
    labels: dict[str, str] = {}
    for name, cell in zip(columns, row, strict=True):
        if name == "time_stamp":
            sample[name] = cell
        elif name.startswith(_LABEL_COLUMN):
            labels |= {name.removeprefix(_LABEL_COLUMN): cell} if cell else {}
        else:
            sample["data"].append(_csv_value(name, cell))
    return sample | ({"labels": labels} if labels else {}) | ({"missing": "skip"} if None in sample["data"] else {})


def _csv_value(name: str, cell: str) -> float | None:
    try:
        value = float(cell) if cell.strip() else None
    except ValueError:
        value = float("inf")
    if value is None or isnan(value):
        return None
    if not isfinite(value) or "_" in cell:
        raise UnusableSample(f"expected a number, got {cell!r} - in column {name}")
    return value


def _is_same_sample(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one["time_stamp"] == other["time_stamp"] and one.get("labels") == other.get("labels")


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise `UnusableSample` if a label cannot be sent as a header of a request.

    HTTP removes spaces at the start and the end of a header.
    """
    for name, value in labels.items():
        if not _LABEL_NAME.fullmatch(name) or not value.isprintable() or value != value.strip():
            raise UnusableSample(f"expected a label such as site=zurich, got {name}={value}")


def content_key(raw: bytes, labels: Mapping[str, str], supersedes: str | None = None) -> str | None:
    """Return the idempotency key that is derived from the bytes, the labels and the superseded sample of the request.

    Return None if the sample contains its own key.
    """
    if _KEY_MEMBER in raw:
        try:
            sample = json.loads(raw)
        except ValueError:
            sample = None
        if isinstance(sample, dict) and isinstance(key := sample.get("idempotency_key"), str) and key:
            return None
    digest = sha256(raw)
    if labels:  # equal numbers of two sensors are two samples
        digest.update(json.dumps(sorted(labels.items())).encode())
    if supersedes is not None:  # a correction can restore the content of an earlier sample
        digest.update(supersedes.encode())
    return f"sha256:{digest.hexdigest()}"


async def in_batches(
    samples: Iterable[SampleLike] | AsyncIterable[SampleLike],
) -> AsyncGenerator[list[SampleLike], None]:
    """Yield consecutive samples that are available together.

    A batch with several samples contains lines of an NDJSON body: bytes without a line end. Its size is far below the
    limits of proxies. A sample that cannot be a line, or that is large, is a batch of its own.
    """
    batch: list[SampleLike] = []
    batch_bytes, started = 0, 0.0
    async with aclosing(_iterate(samples)) as source:
        following = asyncio.ensure_future(anext(source))
        try:
            while True:
                if batch:
                    await asyncio.sleep(0)  # starts the read of the next sample
                    if not following.done() or time.monotonic() - started > _MAX_BATCH_SECONDS:
                        yield batch
                        batch = []
                try:
                    sample = await following
                except StopAsyncIteration:
                    break
                following = asyncio.ensure_future(anext(source))
                line = _to_line(sample)
                if not batch:
                    batch_bytes, started = 0, time.monotonic()
                if batch and (line is None or batch_bytes + len(line) > _MAX_BATCH_BYTES):
                    yield batch
                    batch, batch_bytes, started = [], 0, time.monotonic()
                batch.append(sample if line is None else line)
                batch_bytes += 0 if line is None else len(line)
                if line is None or len(batch) == _MAX_BATCH_SAMPLES:
                    yield batch
                    batch = []
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    if batch:
        yield batch


def _to_line(sample: SampleLike) -> bytes | None:
    """Return the bytes of a sample if they can be a line of an NDJSON body."""
    try:
        raw = encode(sample)
    except UnusableSample:
        return None
    return raw if len(raw) < _MAX_BATCH_BYTES and b"\n" not in raw and raw.strip() else None


async def map_in_order(
    items: Iterable[T] | AsyncIterable[T],
    send: Callable[[T], Awaitable[R]],
    size: Callable[[T], int],
    max_pending: int,
) -> AsyncGenerator[R, None]:
    """Call `send` for each item, with up to `max_pending` concurrent calls, and yield the results in order.

    A result is yielded as soon as it is available, without waiting for the next item. While the pending items have
    64 MiB or more, no call starts, so memory is limited. The first exception of `send` ends the iteration.
    """
    pending: deque[tuple[asyncio.Future[R], int]] = deque()
    pending_bytes = 0
    async with aclosing(_iterate(items)) as source:
        next_item: asyncio.Future[T] | None = asyncio.ensure_future(anext(source))
        try:
            while next_item is not None or pending:
                is_full = len(pending) >= max_pending or pending_bytes >= _MAX_PENDING_BYTES
                awaited: set[asyncio.Future[Any]] = {pending[0][0]} if pending else set()
                if next_item is not None and not is_full:
                    awaited.add(next_item)
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                if next_item is not None and next_item in awaited and next_item.done():
                    try:
                        item = next_item.result()
                    except StopAsyncIteration:
                        next_item = None
                    else:
                        pending.append((asyncio.ensure_future(send(item)), size(item)))
                        pending_bytes += size(item)
                        next_item = asyncio.ensure_future(anext(source))
                while pending and pending[0][0].done():
                    sent, sent_bytes = pending.popleft()
                    pending_bytes -= sent_bytes
                    yield sent.result()
        finally:
            unfinished = [call for call, _ in pending] + ([] if next_item is None else [next_item])
            for future in unfinished:
                future.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)


async def _iterate(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
