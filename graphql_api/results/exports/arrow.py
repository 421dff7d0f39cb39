"""Record batches in the columnar format of Apache Arrow.

nanoarrow builds the batches. It needs 2 MiB of memory. pyarrow needs 30 MiB, and 80 MiB if pandas is installed, because
it imports pandas when it builds an array.
"""

from array import array
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import accumulate, chain
from typing import Any

import nanoarrow as na

from graphql_api.results.exports.columns import COLUMNS, HISTOGRAMS, INTEGERS, TIMES, Batch

_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)
_TEXT, _FLOAT, _INTEGER = na.string(), na.float64(), na.int64()
_TIME = na.timestamp("us", timezone="UTC")
_LABEL = na.struct({"key": _TEXT, "value": _TEXT})
_LABELS = na.map_(_TEXT, _TEXT)
_HISTOGRAM = na.struct({"edges": na.list_(_FLOAT), "counts": na.list_(_INTEGER)})


def _type(column: str) -> na.Schema:
    if column == "id":
        return _TEXT
    if column == "labels":
        return _LABELS
    if column in HISTOGRAMS:
        return _HISTOGRAM
    if column in TIMES:
        return _TIME
    return _INTEGER if column in INTEGERS else _FLOAT


SCHEMA = na.struct({name: _type(name) for name in COLUMNS})


def record_batch(batch: Batch) -> Any:
    """Return the values as an array of structs, which readers of Arrow accept as a record batch."""
    columns = [_column(_type(name), values) for name, values in batch.items()]
    return na.c_array_from_buffers(SCHEMA, len(batch["id"]), [None], children=columns)


def _column(values_type: na.Schema, values: list[Any]) -> Any:
    if values_type is _LABELS:
        return _maps(values)
    if values_type is _HISTOGRAM:
        return _histograms(values)
    if values_type is _TIME:
        values = [None if time is None else (time - _EPOCH) // _MICROSECOND for time in values]
    return _scalars(values_type, values)


def _scalars(values_type: na.Schema, values: list[Any]) -> Any:
    if values_type is not _TEXT:
        with suppress(TypeError):  # if a value is None
            numbers = array("d" if values_type is _FLOAT else "q", values)
            return na.c_array_from_buffers(values_type, len(values), [None, numbers])  # in half the time of `c_array`
    return na.c_array(values, values_type)


def _maps(values: Sequence[dict[str, str]]) -> Any:
    pairs = list(chain.from_iterable(each.items() for each in values))
    texts = [_scalars(_TEXT, [pair[index] for pair in pairs]) for index in (0, 1)]
    entries = na.c_array_from_buffers(_LABEL, len(pairs), [None], children=texts)
    return na.c_array_from_buffers(_LABELS, len(values), [None, _offsets(values)], children=[entries])


def _histograms(values: Sequence[dict[str, list[float]] | None]) -> Any:
    bits = sum(1 << index for index, each in enumerate(values) if each is not None)
    is_valid = bits.to_bytes(len(values) // 8 + 1, "little")
    edges = _lists(_FLOAT, [each["edges"] if each else [] for each in values])
    counts = _lists(_INTEGER, [each["counts"] if each else [] for each in values])
    return na.c_array_from_buffers(_HISTOGRAM, len(values), [is_valid], children=[edges, counts])


def _lists(item_type: na.Schema, values: Sequence[Sequence[float]]) -> Any:
    items = _scalars(item_type, list(chain.from_iterable(values)))
    return na.c_array_from_buffers(na.list_(item_type), len(values), [None, _offsets(values)], children=[items])


def _offsets(values: Sequence[Any]) -> Any:
    """Return the position of the first item of each value, and the number of all items."""
    return array("i", [0, *accumulate(map(len, values))])
