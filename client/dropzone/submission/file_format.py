"""The format of a file of samples, by its name or its first lines.

The suffixes `.ndjson` and `.jsonl` mean one sample per line. A file with the suffix `.csv` is a table. For any other
name, the content determines the format. If the first line has the column `time_stamp` of a table, the file is a table.
If more lines follow the first line, and the first line cannot be the start of a longer object, each line is a sample.
"""

import re
from collections.abc import Iterator
from enum import StrEnum

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_NDJSON_SUFFIXES = (".ndjson", ".jsonl")
_COMPRESSED_SUFFIXES = (".gz", ".zst", ".zstd")
_CSV_SUFFIX = ".csv"
_SAMPLE_SUFFIXES = (".json", _CSV_SUFFIX, *_NDJSON_SUFFIXES)


class FileFormat(StrEnum):
    """The format of a file: one sample, one sample per line, or a table."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


def is_sample_name(name: str) -> bool:
    """Return whether a folder with this file submits it."""
    return _without_compression(name).endswith(_SAMPLE_SUFFIXES)


def _without_compression(name: str) -> str:
    name = name.lower()
    for suffix in _COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def format_of_name(name: str) -> FileFormat | None:
    """Return the format that a name determines, or None if the content determines it."""
    name = _without_compression(name)
    if name.endswith(_NDJSON_SUFFIXES):
        return FileFormat.NDJSON
    return FileFormat.CSV if name.endswith(_CSV_SUFFIX) else None


def detect_format(head: bytearray, chunks: Iterator[bytes], *, max_bytes: int, is_stream: bool) -> FileFormat:
    """Return the format of a file by its first lines, which are added to `head`: at most `max_bytes` and one chunk."""
    newline = bytearray()
    for chunk in chunks:
        head += chunk
        if len(head) > max_bytes:
            break
        if not newline and b"\n" not in chunk:
            continue
        first, newline, rest = head.lstrip().partition(b"\n")
        if newline and _is_csv_header(first):
            return FileFormat.CSV
        if newline and not _is_ndjson(first):
            break
        if newline and (is_stream or rest.strip()):
            return FileFormat.NDJSON
    return FileFormat.JSON


def _is_csv_header(line: bytearray) -> bool:
    if line.startswith((b"{", b"[")):  # the cells of a large sample would need much memory
        return False
    return any(cell.strip(b' "\r') == b"time_stamp" for cell in line.split(b","))


def _is_ndjson(line: bytearray) -> bool:
    """Return whether the first line looks like an object or a part of one, but not like the start of a longer object.

    The first line of a stream can be torn. The first line of a longer object has unclosed braces, but no unclosed
    quotation mark.
    """
    line = line.strip()
    if not line.startswith(b"{"):
        return line.endswith(b"}")
    rest = _STRING.sub(b"", line)
    return b'"' in rest or rest.count(b"{") <= rest.count(b"}")
