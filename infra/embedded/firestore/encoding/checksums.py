"""Checksums of stored documents: CRC-32 of the serialized document, started with its sequence.

A row that contains the document of another row therefore counts as damaged too. A single flipped bit is always
detected. Larger damage is detected with a probability of 1 - 2**-32.
"""

import zlib


def of(document: bytes, sequence: int) -> int:
    """Return the checksum of a serialized document."""
    return zlib.crc32(document, sequence & 0xFFFFFFFF)


def matches(document: bytes, sequence: int, checksum: int | None) -> bool:
    """Return whether a document has this checksum. Documents of earlier releases have none and count as intact."""
    return checksum is None or checksum == of(document, sequence)
