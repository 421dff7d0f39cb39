"""A sample in chunks -> its time and its numbers, without ever being put together.

Each chunk is decompressed, its numbers are read, and it is let go, so that memory is for the compressed chunks and the
numbers alone. That takes the shape that large samples have: an object of which only the list of numbers is long. What
has another shape, or a fault, is put together and read as a whole; that reading knows what to say of it. The trap: the
numbers are read before it is known that the bytes are those that were submitted, so nothing is returned before the
digest of all of them has been compared.
"""

import re
from array import array
from collections.abc import Sequence
from hashlib import sha256

import msgspec
import zstandard

from storage.documents import Header, InvalidSample, NotJson
from storage.documents.validation import payload, typed_reader
from storage.documents.validation.payload import Payload

_OPENING = re.compile(rb'[^\\{]*\{[^\\{]*?"data"[ \t\r\n]*:[ \t\r\n]*\[')
"""Up to the first number. Without another object and without escapes before it, it is the sample's own list."""


class _OtherShape(Exception):
    """It is to be read as a whole."""


def read(header: Header, chunks: Sequence[bytes]) -> Payload:
    """Return what the sample of `header` holds, of which these are the chunks in their order.

    Raises `InvalidSample` with its problems, also where they are not what was submitted, and `NotJson`.
    """
    try:
        return _read_in_turn(header, chunks)
    except (_OtherShape, InvalidSample, NotJson, msgspec.MsgspecError, zstandard.ZstdError):
        return payload.read(header.assemble(chunks), header.default_time_zone())


def _read_in_turn(header: Header, chunks: Sequence[bytes]) -> Payload:
    data: array[float] = array("d")
    digest = sha256()
    before = rest = after = b""
    for chunk in chunks:
        text = zstandard.decompress(chunk)
        digest.update(text)
        if after:
            after += text
            continue
        if not before:
            opening = _OPENING.match(text)
            if opening is None:
                raise _OtherShape
            before, text = opening.group(), text[opening.end() :]
        text = rest + text
        end = text.find(b"]")
        if end >= 0:
            after = text[end:]
        else:
            end = text.rfind(b",")
            rest = text[end + 1 :]
            if end < 0:
                raise _OtherShape
        for numbers in typed_reader.read_numbers(text, 0, end):
            if not numbers:
                raise _OtherShape
            data.extend(array("d", numbers))  # twice as fast as from the list
    if digest.hexdigest() != header.sha256:
        raise _OtherShape
    frame = payload.read(before + b"0" + after, header.default_time_zone())
    return Payload(frame.timestamp, data)
