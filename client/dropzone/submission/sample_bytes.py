"""The bytes of a sample, and the idempotency key that is derived from them.

If a sample is sent again, after a broken connection or by another run, the key is the same, so the server stores the
sample only once. A sample with a member `idempotency_key` is sent without the header `Idempotency-Key`, because the
header would override the member.
"""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from dropzone.errors import UnusableSample

SampleLike = bytes | str | Mapping[str, Any]
"""A sample: JSON text, or a mapping that JSON can represent. Its values can also be times and arrays of NumPy."""

Encoded = bytes | UnusableSample
"""The bytes of a sample, or the error if JSON cannot represent the sample."""

_LABEL_NAME = re.compile("[a-z][a-z0-9_]*", re.ASCII)
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


def try_encode(sample: SampleLike | UnusableSample) -> Encoded:
    """Return the bytes of a sample, or the error of a sample that cannot be sent."""
    if isinstance(sample, UnusableSample):
        return sample
    try:
        return encode(sample)
    except UnusableSample as error:
        return error


async def encode_each(
    samples: Iterable[SampleLike] | AsyncIterable[SampleLike | UnusableSample],
) -> AsyncGenerator[Encoded, None]:
    """Yield the bytes of each sample.

    A sample is encoded before the next one is requested, because a generator can use the same array for all samples.
    """
    if isinstance(samples, AsyncIterable):
        async for sample in samples:
            yield try_encode(sample)
    else:
        for sample in samples:
            yield try_encode(sample)


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
