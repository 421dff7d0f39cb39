"""A chunked sample: read its time stamp and numbers without assembling the raw document.

Chunks are decompressed one after the other, so memory holds only the compressed chunks, one
decompressed chunk and the numbers. This works for the usual shape of a large sample: a JSON object
in which only the list of numbers is long. A sample with another shape or with a problem is
assembled and read as a whole.

The numbers are read before the digest of the whole sample is known. They are returned only if the
digest is correct.
"""

import re
from array import array
from collections.abc import Callable, Sequence
from hashlib import sha256

import zstandard

from storage.documents import Header, InvalidSample, NotJson
from storage.documents.validation import payload
from storage.documents.validation.payload import Payload

_DATA_OPENING = re.compile(rb'[^\\{]*\{[^\\{]*?"data"[ \t\r\n]*:[ \t\r\n]*\[')
"""The text before the first number. It has no other object and no escapes, so `data` is a member of the sample."""


class _UnusualShape(Exception):
    """The sample must be read as a whole."""


def read(header: Header, chunks: Sequence[bytes], check: Callable[[], None] = lambda: None) -> Payload:
    """Return the payload of a sample from its compressed chunks in order.

    Raises `InvalidSample` if the sample has problems or differs from the submitted sample. Raises
    `NotJson` if the sample is not a JSON text. `check` is called between pieces of the sample, and may raise an error.
    """
    try:
        return _read_by_chunk(header, chunks, check)
    except (_UnusualShape, InvalidSample, NotJson, ValueError, zstandard.ZstdError):
        raw, zone = header.assemble(chunks), header.default_time_zone()
        return payload.read(raw, zone, check, skips_missing=header.missing_count > 0)


def _read_by_chunk(header: Header, chunks: Sequence[bytes], check: Callable[[], None]) -> Payload:
    # One allocation: if there is too little memory, it fails at once. If the numbers used up the memory step by step,
    # gRPC could get no memory, and would abort the process.
    data = array("d", [0.0]) * header.count
    count = 0
    digest = sha256()
    before_data = incomplete_number = b""
    after_data: list[bytes] = []
    for chunk in chunks:
        check()
        text = zstandard.decompress(chunk)
        digest.update(text)
        if after_data:
            after_data.append(text)
            continue
        if not before_data:
            opening = _DATA_OPENING.match(text)
            if opening is None:
                raise _UnusualShape
            before_data, text = opening.group(), text[opening.end() :]
        text = incomplete_number + text
        end = text.find(b"]")
        if end >= 0:
            after_data.append(text[end:])
        else:
            end = text.rfind(b",")
            incomplete_number = text[end + 1 :]
            if end < 0:
                raise _UnusualShape
        for numbers in payload.read_numbers(text, 0, end):
            if not numbers:
                raise _UnusualShape
            data[count : count + len(numbers)] = array("d", numbers)
            count += len(numbers)
    if count != header.count or digest.hexdigest() != header.sha256:
        raise _UnusualShape
    without_numbers = payload.read(b"".join([before_data, b"0", *after_data]), header.default_time_zone(), check)
    return Payload(without_numbers.timestamp, data, without_numbers.labels)
