"""The fast reader: decodes a sample without problems into typed values, and rejects any other text.

The decoder silently uses the last of two equal keys. This reader therefore also rejects a text in which a key that is
read may occur twice or may be spelled with escapes. The thorough reader decides about such texts.

A decoder blocks the interpreter while it runs. The numbers of a large sample are therefore decoded in pieces.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import tzinfo

import msgspec

from storage.documents import sample_ids, timestamps
from storage.documents.validation import json_scanner
from storage.documents.validation.validation_report import Append, ValidationReport

_DATA_OPENING = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*\[')
_ESCAPED_KEY_CHARACTER = re.compile(rb"\\u00(?:5[fF]|[67])")  # `_` and a to z, of which the keys consist


class _Sample(msgspec.Struct):
    time_stamp: str
    data: list[float]
    idempotency_key: str | None = None


_QUOTED_KEYS = [b'"%b"' % key.encode() for key in _Sample.__struct_fields__]
_sample_decoder = msgspec.json.Decoder(_Sample)
_numbers_decoder = msgspec.json.Decoder(list[float])


def read(raw: bytes, default_time_zone: tzinfo | None, append: Append) -> ValidationReport | None:
    """Return the report on a sample without problems and pass its numbers to `append`; return None for other texts.

    If it returns None, it may already have passed some numbers to `append`.
    """
    try:
        if not json_scanner.is_nested_within(raw, json_scanner.MAX_DEPTH):
            return None
        sample, pieces = _decode(raw) if len(raw) <= json_scanner.PIECE_BYTES else _decode_in_pieces(raw)
        timestamp = timestamps.parse(sample.time_stamp, default_time_zone)
        count = 0
        for numbers in pieces:
            if not numbers:
                return None
            count += len(numbers)
            append(numbers)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    key = sample.idempotency_key
    if key is not None and not sample_ids.is_idempotency_key(key):
        return None
    return ValidationReport(sample.time_stamp, timestamp, count, key)


def read_numbers(raw: bytes, start: int, end: int) -> Iterator[list[float]]:
    """Yield the numbers between two offsets inside a list, some at a time. Raises `msgspec.MsgspecError`."""
    return (_numbers_decoder.decode(b"[%b]" % raw[first:last]) for first, last in json_scanner.pieces(raw, start, end))


def _decode(raw: bytes) -> tuple[_Sample, Iterable[list[float]]]:
    """Decode `raw` in one step. Raises `ValueError` if a key that is read may occur twice."""
    time_stamps, data, idempotency_keys = (raw.count(key) for key in _QUOTED_KEYS)
    if (time_stamps, data) != (1, 1) or idempotency_keys > 1:
        raise ValueError("a key may occur twice")
    if b"\\u00" in raw and _ESCAPED_KEY_CHARACTER.search(raw):
        raise ValueError("a key may be spelled with escapes")
    raw.decode()  # the decoder does not check that members it skips are UTF-8
    sample = _sample_decoder.decode(raw)
    return sample, [sample.data]


def _decode_in_pieces(raw: bytes) -> tuple[_Sample, Iterable[list[float]]]:
    """Decode the sample with one number in `data`, and its numbers in pieces.

    Raises `ValueError` if that can differ from decoding the whole text: if `data` is not a list without nesting.
    """
    opening = _DATA_OPENING.match(raw, raw.index(b'"data"'))
    if opening is None:
        raise ValueError("data is not a list")
    start, end = opening.end(), raw.index(b"]", opening.end())
    sample, _ = _decode(raw[:start] + b"0" + raw[end:])
    return sample, read_numbers(raw, start, end)
