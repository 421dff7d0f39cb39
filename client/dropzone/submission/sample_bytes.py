"""The bytes of a sample, and the idempotency key that is derived from them.

If a sample is sent again, after a broken connection or by another run, the key is the same, so the server stores the
sample only once. A sample with a member `idempotency_key` is sent without the header `Idempotency-Key`, because the
header would override the member.
"""

import json
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from dropzone.encoding import NUMPY_HINT, is_numpy_time
from dropzone.errors import BadUserInput, UnusableSample

SampleLike = bytes | bytearray | str | Mapping[str, Any]
"""A sample: JSON text, or a mapping that JSON can represent.

Its values can also be times, and arrays or columns of NumPy, pandas, polars and pyarrow.
"""

Encoded = bytes | UnusableSample
"""The bytes of a sample, or the error if JSON cannot represent the sample."""

_LABEL_NAME = re.compile("[a-z][a-z0-9_]*", re.ASCII)
_JOINERS = {0x200C: None, 0x200D: None}  # in emoji, for example; the server allows them between other characters
_KEY_MEMBER = b'"idempotency_key"'


def check_samples(samples: object) -> None:
    """Raise `UnusableSample` for a single sample or a table, whose characters or names would be submitted."""
    if isinstance(samples, bytes | bytearray | str | Mapping):
        raise UnusableSample(
            f"expected an iterable of samples, got {type(samples).__name__}; use `submit` for one sample"
        )
    if hasattr(samples, "columns"):
        raise UnusableSample(f"expected an iterable of samples, got the table {type(samples).__name__}")


def encode(sample: SampleLike) -> bytes:
    """Return the bytes of a sample. Raises `UnusableSample` if JSON cannot represent the sample."""
    if isinstance(sample, bytes | bytearray):
        return bytes(sample)
    if not isinstance(sample, str | Mapping):
        raise UnusableSample(f"expected JSON text, or a mapping such as a dict, got {type(sample).__name__}")
    try:
        if isinstance(sample, str):
            return sample.encode()
        members = dict(sample)
        if members.get("missing") == "skip" and "data" in members:
            members["data"] = _with_nulls(_values(members["data"]))
        text = json.dumps(members, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_to_json)
        return text.encode()
    except RecursionError as error:
        raise UnusableSample("expected an object that JSON can represent, got one that is nested too deeply") from error
    except (AttributeError, OverflowError, TypeError, ValueError) as error:  # not a type of JSON, or a lone surrogate
        if "Out of range float values" in str(error):
            sentence = (
                'expected finite numbers, got NaN or infinity; the member `"missing": "skip"` leaves out NaN, but not '
                "infinity"
            )
            raise UnusableSample(sentence) from error
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
    check_samples(samples)
    if isinstance(samples, AsyncIterable):
        async for sample in samples:
            yield try_encode(sample)
    else:
        for sample in samples:
            yield try_encode(sample)


def _values(value: Any) -> Any:
    """Return the values of an array or a column of NumPy, pandas, polars or pyarrow as a list. Return others as is."""
    if is_numpy_time(value):
        raise TypeError(f"{value.dtype} is not a type of JSON; {NUMPY_HINT}")
    for name in ("tolist", "to_list", "to_pylist"):
        if callable(to_list := getattr(value, name, None)):
            return to_list()
    return value


def _with_nulls(values: Any) -> Any:
    """Return a list with None for each missing value. Return other objects as is.

    An iteration over a data frame or a dict would return its columns or keys instead of values.
    """
    if not isinstance(values, list | tuple):
        return values
    return [None if _is_missing(value) else value for value in values]


def _is_missing(value: Any) -> bool:
    """Return whether a value is NaN, or the missing value of pandas."""
    return _is_na(value) or bool(value != value)


def _is_na(value: Any) -> bool:
    pandas = sys.modules.get("pandas")  # without an import: the value can exist only if the program has imported it
    return pandas is not None and value is pandas.NA


def _to_json(value: object) -> Any:
    """Return a time as text, a missing value of pandas as null, and an array or a number of NumPy as numbers."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"expected a time with a time zone, got {value}")
        return _with_rfc_3339_offset(value).isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if _is_na(value):
        return None
    values = _values(value)
    if type(values) is type(value):  # also a `longdouble` of NumPy, which JSON cannot represent
        raise TypeError(f"{type(value).__name__} is not a type of JSON")
    return values


def _with_rfc_3339_offset(value: datetime) -> datetime:
    """Return the same time in UTC if RFC 3339 cannot represent its UTC offset, such as +00:34:08 of Zurich in 1850."""
    offset = value.utcoffset() or timedelta(0)
    return value.astimezone(UTC) if offset % timedelta(minutes=1) else value


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise `UnusableSample` if a label cannot be sent as a header of a request.

    HTTP removes spaces at the start and the end of a header.
    """
    for name, value in labels.items():
        if not (isinstance(name, str) and _LABEL_NAME.fullmatch(name)):
            raise UnusableSample(f"expected a name of lower-case letters, digits and `_`, got the label {name}={value}")
        if not isinstance(value, str):
            raise UnusableSample(f"expected text as the value of the label {name}, got {value!r}")
        if not value.translate(_JOINERS).isprintable() or value != value.strip():
            raise UnusableSample(f"expected printable text without spaces at its ends, got the label {name}={value}")


def check_header(name: str, value: str | None) -> None:
    """Raise `BadUserInput` if a value cannot be sent as a header of a request.

    HTTP removes spaces at the start and the end of a header, so the server would get another value.
    """
    if value is not None and not (isinstance(value, str) and value.isprintable() and value == value.strip()):
        raise BadUserInput(f"expected {name} of printable characters, without spaces at its ends, got {value!r}")


def content_key(raw: bytes, labels: Mapping[str, str], supersedes: str | None = None) -> str | None:
    """Return the idempotency key that is derived from the bytes, the labels and the superseded sample of the request.

    Return None if the sample contains its own key.
    """
    if _KEY_MEMBER in raw:
        try:
            sample = json.loads(raw)
        except (ValueError, RecursionError):
            sample = None
        if isinstance(sample, dict) and isinstance(key := sample.get("idempotency_key"), str) and key:
            return None
    digest = sha256(raw)
    if labels:  # equal numbers of two sensors are two samples
        digest.update(json.dumps(sorted(labels.items())).encode())
    if supersedes is not None:  # a correction can restore the content of an earlier sample
        digest.update(supersedes.encode())
    return f"sha256:{digest.hexdigest()}"
