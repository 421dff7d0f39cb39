"""Files, folders and streams become samples, read as they are needed: memory is flat however much there is.

A file is one sample or as many as it has lines. Its name decides (`.ndjson`, `.jsonl`), and else its content: where
the first line is an object for itself and more follows, each line is a sample. Compression is told from the first
bytes. What one file holds is sent byte for byte, without the line ends of NDJSON.
"""

import gzip
import io
import os
import threading
import zlib
from asyncio import Queue, get_running_loop, run_coroutine_threadsafe
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import zstandard

from dropzone import DropzoneError, TooLarge, UnusableSample

T = TypeVar("T")

STANDARD_INPUT = Path("-")

_LINES = (".ndjson", ".jsonl")
_COMPRESSED = (".gz", ".zst", ".zstd")
_SAMPLES = (".json", *_LINES)
_CHUNK_BYTES = 1024 * 1024
_MAX_BYTES = 256 * 1024 * 1024
_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Item:
    """A sample and where it comes from, or what is wrong with the place."""

    place: str
    raw: bytes | DropzoneError


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples that were read at once, and how many bytes of the file had been read by then."""

    source: Path
    items: list[Item]
    position: int


class _Reader(Protocol):
    def read1(self, size: int = -1, /) -> bytes:
        """Return what is there, up to `size` bytes; nothing at the end."""


def expand(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files: of a folder all below it that are named as samples are, sorted, but hidden ones."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = (entry for entry in path.rglob("*") if _is_named_as_sample(entry.name))
        yield from sorted(
            entry
            for entry in inside
            if entry.is_file() and not any(part.startswith(".") for part in entry.relative_to(path).parts)
        )


def total_bytes(paths: Iterable[Path]) -> int | None:
    """Return how much there is to read, None where that is not known before."""
    if any(path == STANDARD_INPUT or not path.is_file() for path in paths):
        return None
    return sum(path.stat().st_size for path in paths)


def shown(path: Path) -> str:
    """Return a name that can be printed, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def read(path: Path) -> Iterator[Batch]:
    """Yield the samples of a file, as they come; the last item says so where it cannot be read to its end."""
    try:
        with _open(path) as opened:
            for items in _items(path, _decoded(opened)):
                yield Batch(path, items, opened.tell() if opened.seekable() else 0)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        yield Batch(path, [Item(shown(path), UnusableSample(f"cannot be read: {said}"))], 0)


async def in_background(batches: Iterator[T]) -> AsyncGenerator[T, None]:
    """Yield what another thread reads ahead; it is not waited for at the end, for it may wait for a terminal."""
    loop = get_running_loop()
    queue: Queue[T | BaseException | None] = Queue(2)
    ended = threading.Event()

    def put(item: T | BaseException | None) -> None:
        if not ended.is_set():
            run_coroutine_threadsafe(queue.put(item), loop).result()

    def work() -> None:
        with suppress(RuntimeError):  # the loop is gone
            try:
                for batch in batches:
                    put(batch)
                put(None)
            except Exception as error:  # noqa: BLE001 - it is raised where the batches are read
                put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        ended.set()
        while not queue.empty():  # whoever waits for room goes on, and sees that it has ended
            queue.get_nowait()


def _is_named_as_sample(name: str) -> bool:
    return _plain_name(name).endswith(_SAMPLES)


def _plain_name(name: str) -> str:
    name = name.lower()
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name


def _open(path: Path) -> io.BufferedReader:
    # Not `sys.stdin`: a thread that waits in it would keep the interpreter from ending.
    raw = io.FileIO(0, closefd=False) if path == STANDARD_INPUT else io.FileIO(path)
    return io.BufferedReader(raw, _CHUNK_BYTES)


def _decoded(opened: io.BufferedReader) -> _Reader:
    head = opened.peek(4)
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=opened)
    if head.startswith(_ZSTANDARD):
        return io.BufferedReader(_Zstandard(opened), _CHUNK_BYTES)
    return opened


class _Zstandard(io.RawIOBase):
    """A stream of frames; zstandard's own reader takes one that is cut off for one that has ended."""

    def __init__(self, source: io.BufferedReader) -> None:
        self._source = source
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]  # a buffer of bytes is what comes
        while not self._left:
            if self._frame.eof:
                chunk = self._frame.unused_data or self._source.read1(_CHUNK_BYTES // 16)
                if not chunk:
                    return 0
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            else:
                chunk = self._source.read1(_CHUNK_BYTES // 16)
                if not chunk:
                    raise EOFError("the compressed file ends before its end")
            self._left = self._frame.decompress(chunk)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _items(path: Path, reader: _Reader) -> Iterator[list[Item]]:
    name = shown(path)
    chunks = iter(lambda: reader.read1(_CHUNK_BYTES), b"")
    if _plain_name(path.name).endswith(_LINES):
        yield from _lines(name, chunks)
        return
    head, ended = bytearray(), bytearray()
    for chunk in chunks:
        head += chunk
        if len(head) > _MAX_BYTES:
            break
        if not ended and b"\n" not in chunk:
            continue
        first, ended, rest = head.lstrip().partition(b"\n")
        if ended and not _is_object(first):
            break
        if ended and (path == STANDARD_INPUT or rest.strip()):
            yield from _lines(name, _before(bytes(head), chunks))
            return
    if path == STANDARD_INPUT and not head.strip():
        return
    yield [Item(name, _whole(head, chunks))]


def _is_object(line: bytearray) -> bool:
    """Tell whether a line looks like an object for itself, rather than like the first line of one."""
    line = line.strip()
    return line.startswith(b"{") and line.endswith(b"}") and line.count(b"{") <= line.count(b"}")


def _before(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from chunks


def _whole(head: bytearray, chunks: Iterator[bytes]) -> bytes | DropzoneError:
    while len(head) <= _MAX_BYTES:
        chunk = next(chunks, b"")
        if not chunk:
            return bytes(head)
        head += chunk
    return _too_large()


def _lines(name: str, chunks: Iterator[bytes]) -> Iterator[list[Item]]:
    number = 1
    held = bytearray()
    size = 0  # of the line, of which nothing more is held when it is too long
    for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        items: list[Item] = []
        for end in ends:
            if size + len(end) > _MAX_BYTES:
                items.append(Item(f"{name}:{number}", _too_large()))
            elif line := _line(bytes(held) + end):
                items.append(Item(f"{name}:{number}", line))
            number += 1
            size = 0
            held.clear()
        size += len(rest)
        if size <= _MAX_BYTES:
            held += rest
        else:
            held.clear()
        yield items
    if size > _MAX_BYTES:
        yield [Item(f"{name}:{number}", _too_large())]
    elif line := _line(bytes(held)):
        yield [Item(f"{name}:{number}", line)]


def _line(line: bytes) -> bytes:
    return b"" if line.isspace() else line.removesuffix(b"\r")


def _too_large() -> TooLarge:
    return TooLarge(f"a sample of more than {_MAX_BYTES // 2**20} MiB is not even sent")
