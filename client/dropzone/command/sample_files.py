"""Reads samples one by one from files, folders and standard input. Memory use depends only on the largest sample.

A file contains one sample, or one sample per line. The suffixes `.ndjson` and `.jsonl` mean one sample per line. A file
with the suffix `.csv` is a table: see `csv_samples`. For any other name, the content determines the format. If the
first line has the column `time_stamp` of a table, the file is a table. If more lines follow the first line, and it
cannot be the start of a longer object, each line is a sample. The client sends the bytes of a sample unchanged, without
the line end, and without a byte order mark at the start of the file. Some Windows programs write this mark, and the API
refuses it.
"""

import codecs
import io
import os
import re
import threading
from asyncio import Queue, get_running_loop, run_coroutine_threadsafe
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from dropzone import DropzoneError, TooLarge, UnusableSample
from dropzone.submission.compression import DECOMPRESSION_ERRORS, READ_BYTES, Reader, decompressed
from dropzone.submission.csv_table import ENCODING, ENCODING_ERRORS, csv_samples
from dropzone.submission.sample_bytes import encode

T = TypeVar("T")

STANDARD_INPUT = Path("-")

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_NDJSON_SUFFIXES = (".ndjson", ".jsonl")
_COMPRESSED_SUFFIXES = (".gz", ".zst", ".zstd")
_CSV_SUFFIX = ".csv"
_SAMPLE_SUFFIXES = (".json", _CSV_SUFFIX, *_NDJSON_SUFFIXES)
_SPREADSHEET_MAGIC = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""The first bytes of spreadsheets: a ZIP archive (.xlsx, .ods) or a compound file (.xls)."""
_SPREADSHEET = "expected JSON, NDJSON or CSV, got a spreadsheet or a ZIP archive; save a spreadsheet as CSV in UTF-8"
_MAX_SAMPLE_BYTES = 256 * 1024 * 1024


class FileFormat(StrEnum):
    """The format of a file: one sample, one sample per line, or a table."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Item:
    """The bytes of a sample, or the error if the bytes cannot be read. `source` is a file name or `name:line`."""

    source: str
    raw: bytes | DropzoneError


@dataclass(frozen=True, slots=True)
class Batch:
    """Items that were read together. `position` is the number of bytes of the file that were read so far."""

    items: list[Item]
    position: int


def expand(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files. For a folder, yield all sample files in it and its subfolders, sorted, except hidden files."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        candidates = (entry for entry in path.rglob("*") if _is_sample_name(entry.name))
        yield from sorted(
            entry
            for entry in candidates
            if entry.is_file() and not any(part.startswith(".") for part in entry.relative_to(path).parts)
        )


def total_bytes(paths: Iterable[Path]) -> int | None:
    """Return the total size of the files in bytes, or None if one of them is a stream."""
    if any(path == STANDARD_INPUT or not path.is_file() for path in paths):
        return None
    return sum(path.stat().st_size for path in paths)


def printable(path: Path) -> str:
    """Return the name of a file. Bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def read(path: Path, file_format: FileFormat | None = None) -> Iterator[Batch]:
    """Yield the samples of a file. If the file cannot be read to its end, the last item contains the error.

    Without a format, the name and the content of the file determine it.
    """
    try:
        with _open(path) as file:
            if file.peek(4).startswith(_SPREADSHEET_MAGIC):
                yield Batch([Item(printable(path), UnusableSample(_SPREADSHEET))], 0)
                return
            for items in _read_items(path, decompressed(file), file_format or _format_of_name(path.name)):
                yield Batch(items, file.tell() if file.seekable() else 0)
    except (OSError, *DECOMPRESSION_ERRORS) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        yield Batch([Item(printable(path), UnusableSample(f"cannot be read: {reason}"))], 0)


async def in_background(batches: Iterator[T]) -> AsyncGenerator[T, None]:
    """Yield the items of `batches`, which another thread reads in advance.

    The thread is a daemon and is not joined, because it can block while it reads from a terminal.
    """
    loop = get_running_loop()
    queue: Queue[T | BaseException | None] = Queue(2)
    is_stopped = threading.Event()

    def put(item: T | BaseException | None) -> None:
        if not is_stopped.is_set():
            run_coroutine_threadsafe(queue.put(item), loop).result()

    def work() -> None:
        with suppress(RuntimeError):  # raised if the event loop is closed
            try:
                for batch in batches:
                    put(batch)
                put(None)
            except Exception as error:  # noqa: BLE001 - the consumer raises it
                put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        is_stopped.set()
        while not queue.empty():  # wakes the thread if it waits because the queue is full
            queue.get_nowait()


def _is_sample_name(name: str) -> bool:
    return _without_compression(name).endswith(_SAMPLE_SUFFIXES)


def _without_compression(name: str) -> str:
    name = name.lower()
    for suffix in _COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _open(path: Path) -> io.BufferedReader:
    # Do not use `sys.stdin`: a thread that blocks in it prevents the exit of the interpreter.
    raw = io.FileIO(0, closefd=False) if path == STANDARD_INPUT else io.FileIO(path)
    return io.BufferedReader(raw, READ_BYTES)


def _format_of_name(name: str) -> FileFormat | None:
    name = _without_compression(name)
    if name.endswith(_NDJSON_SUFFIXES):
        return FileFormat.NDJSON
    return FileFormat.CSV if name.endswith(_CSV_SUFFIX) else None


def _read_items(path: Path, reader: Reader, file_format: FileFormat | None) -> Iterator[list[Item]]:
    name = printable(path)
    chunks = _without_byte_order_mark(iter(lambda: reader.read1(READ_BYTES), b""))
    head = bytearray()
    detected = file_format or _detect_format(head, chunks, is_stream=path == STANDARD_INPUT)
    if detected is FileFormat.NDJSON:
        yield from _read_lines(name, _prepend(bytes(head), chunks))
    elif detected is FileFormat.CSV:
        yield from _read_csv(name, _prepend(bytes(head), chunks))
    elif file_format is not None or path != STANDARD_INPUT or head.strip():  # an empty stream has no sample
        yield [Item(name, _read_rest(head, chunks))]


def _detect_format(head: bytearray, chunks: Iterator[bytes], *, is_stream: bool) -> FileFormat:
    """Return the format of a file by its first lines, which are added to `head`."""
    newline = bytearray()
    for chunk in chunks:
        head += chunk
        if len(head) > _MAX_SAMPLE_BYTES:
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


def _read_csv(name: str, chunks: Iterator[bytes]) -> Iterator[list[Item]]:
    for number, sample in csv_samples(_decoded_lines(chunks)):
        yield [Item(f"{name}:{number}", sample if isinstance(sample, UnusableSample) else encode(sample))]


def _decoded_lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Yield the lines of a text, with their line ends: a line feed, a carriage return, or both."""
    rest = ""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(ENCODING)(ENCODING_ERRORS), translate=False)
    for chunk in chunks:
        lines = list(io.StringIO(rest + decoder.decode(chunk), newline=""))
        rest = lines.pop() if lines and not lines[-1].endswith(("\n", "\r")) else ""
        yield from lines
    if rest := rest + decoder.decode(b"", final=True):
        yield rest


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


def _without_byte_order_mark(chunks: Iterator[bytes]) -> Iterator[bytes]:
    start = b""
    while codecs.BOM_UTF8.startswith(start) and (chunk := next(chunks, b"")):
        start += chunk
    yield start.removeprefix(codecs.BOM_UTF8)
    yield from chunks


def _prepend(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from chunks


def _read_rest(head: bytearray, chunks: Iterator[bytes]) -> bytes | DropzoneError:
    while len(head) <= _MAX_SAMPLE_BYTES:
        chunk = next(chunks, b"")
        if not chunk:
            return bytes(head)
        head += chunk
    return _too_large()


def _read_lines(name: str, chunks: Iterator[bytes]) -> Iterator[list[Item]]:
    number = 1
    start = bytearray()  # the part of the current line in earlier chunks, or empty if the line is too long
    size = 0  # the number of bytes of the current line in earlier chunks
    for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        items: list[Item] = []
        for end in ends:
            if size + len(end) > _MAX_SAMPLE_BYTES:
                items.append(Item(f"{name}:{number}", _too_large()))
            elif line := _without_line_end(bytes(start) + end):
                items.append(Item(f"{name}:{number}", line))
            number += 1
            size = 0
            start.clear()
        size += len(rest)
        if size <= _MAX_SAMPLE_BYTES:
            start += rest
        else:
            start.clear()
        yield items
    if size > _MAX_SAMPLE_BYTES:
        yield [Item(f"{name}:{number}", _too_large())]
    elif line := _without_line_end(bytes(start)):
        yield [Item(f"{name}:{number}", line)]


def _without_line_end(line: bytes) -> bytes:
    """Return the line without its carriage return. A blank line becomes empty."""
    return b"" if line.isspace() else line.removesuffix(b"\r")


def _too_large() -> TooLarge:
    return TooLarge(f"expected a sample of at most {_MAX_SAMPLE_BYTES // 2**20} MiB")
