"""Checksums of stored documents: CRC-32 of the serialized document, started with its sequence.

A row with the document of another row therefore counts as damaged too. A bit that flips on the disk is always found.
Larger damage is found with a probability of 1 - 2**-32.
"""

import zlib


def of(document: bytes, sequence: int) -> int:
    """Return the checksum of a serialized document."""
    return zlib.crc32(document, sequence & 0xFFFFFFFF)


def matches(document: bytes, sequence: int, checksum: int | None) -> bool:
    """Return whether a document has its checksum. Documents of earlier releases have none, and count as intact."""
    return checksum is None or checksum == of(document, sequence)
