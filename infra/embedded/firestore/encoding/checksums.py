"""Checksums of stored documents: CRC-32 of the serialized document, started with its sequence.

A row with the document of another row therefore counts as damaged too. A bit that flips on the disk is always found.
Larger damage is found with a probability of 1 - 2**-32.
"""

import zlib


class DamagedDocument(Exception):
    """The bytes of a stored document do not match their checksum."""


def of(document: bytes, sequence: int) -> int:
    """Return the checksum of a serialized document."""
    return zlib.crc32(document, sequence & 0xFFFFFFFF)


def verified(document: bytes, sequence: int, checksum: int | None) -> bytes:
    """Return the document, or raise `DamagedDocument`. Files of earlier releases have documents without a checksum."""
    if checksum is not None and zlib.crc32(document, sequence & 0xFFFFFFFF) != checksum:
        raise DamagedDocument
    return document
