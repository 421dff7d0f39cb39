"""Reads samples one by one from files, folders and standard input. Memory use depends only on the largest sample.

A file contains one sample, one sample per line, or a table: see `csv_samples`. The client sends the bytes of a sample
unchanged, without the line end, and without a byte order mark at the start of the file. Some Windows programs write
this mark, and the API refuses it.
"""

import codecs
import io
import os
import threading
from asyncio import Queue, get_running_loop, run_coroutine_threadsafe
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dropzone import DropzoneError, TooLarge, UnusableSample
from dropzone.submission.compression import DECOMPRESSION_ERRORS, READ_BYTES, Reader, decompressed
from dropzone.submission.csv_table import ENCODING, ENCODING_ERRORS, csv_samples
from dropzone.submission.file_format import FileFormat, detect_format, format_of_name, is_sample_name
from dropzone.submission.sample_bytes import encode

T = TypeVar("T")

STANDARD_INPUT = Path("-")

_SPREADSHEET_MAGIC = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""The first bytes of spreadsheets: a ZIP archive (.xlsx, .ods) or a compound file (.xls)."""
_SPREADSHEET = "expected JSON, NDJSON or CSV, got a spreadsheet or a ZIP archive; save a spreadsheet as CSV in UTF-8"
_MAX_SAMPLE_BYTES = 256 * 1024 * 1024


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
        if path.is_dir():
            yield from sorted(_files_in(path))
        else:
            yield path


def _files_in(path: Path) -> Iterator[Path]:
    """Yield the sample files, and also subfolders and links that cannot be read, so that `read` reports them."""
    unreadable: list[Path] = []
    for folder, subfolders, names in os.walk(path, onerror=lambda error: unreadable.append(Path(error.filename))):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        entries = (Path(folder, name) for name in names if is_sample_name(name) and not name.startswith("."))
        yield from (entry for entry in entries if entry.is_file() or not entry.exists())
    yield from unreadable


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
            for items in _read_items(path, decompressed(file), file_format or format_of_name(path.name)):
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


def _open(path: Path) -> io.BufferedReader:
    # Do not use `sys.stdin`: a thread that blocks in it prevents the exit of the interpreter.
    raw = io.FileIO(0, closefd=False) if path == STANDARD_INPUT else io.FileIO(path)
    return io.BufferedReader(raw, READ_BYTES)


def _read_items(path: Path, reader: Reader, file_format: FileFormat | None) -> Iterator[list[Item]]:
    name = printable(path)
    chunks = _without_byte_order_mark(iter(lambda: reader.read1(READ_BYTES), b""))
    head = bytearray()
    detected = file_format or detect_format(head, chunks, max_bytes=_MAX_SAMPLE_BYTES, is_stream=path == STANDARD_INPUT)
    if detected is FileFormat.NDJSON:
        yield from _read_lines(name, _prepend(bytes(head), chunks))
    elif detected is FileFormat.CSV:
        yield from _read_csv(name, _prepend(bytes(head), chunks))
    elif file_format is not None or path != STANDARD_INPUT or head.strip():  # an empty stream has no sample
        yield [Item(name, _read_rest(head, chunks))]


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
