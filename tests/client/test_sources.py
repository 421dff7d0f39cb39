"""Files become samples; nothing here needs a server."""

import gzip
from pathlib import Path

import pytest
import zstandard

from dropzone import DropzoneError
from dropzone.command import sources

DOCUMENT = b'{"data": [%s]}' % b",".join([b"0.123456789"] * 200_000)  # more than is read at once


def samples(file: Path) -> list[tuple[str, bytes | str]]:
    """Return what is read, each with where it comes from below the folder."""
    items = [item for batch in sources.read(file) for item in batch.items]
    return [
        (item.place.removeprefix(str(file)), str(item.raw) if isinstance(item.raw, DropzoneError) else item.raw)
        for item in items
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": 1}\n', [("", b'{"a": 1}\n')]),
        (b'{\n "a": 1\n}\n', [("", b'{\n "a": 1\n}\n')]),
        (b'{"a": {\n "b": {}}}', [("", b'{"a": {\n "b": {}}}')]),
        (b'{"a": 1}\n{"b": 2}', [(":1", b'{"a": 1}'), (":2", b'{"b": 2}')]),
        (b'\n{"a": 1}\r\n\n \n{"b": 2}\n', [(":2", b'{"a": 1}'), (":5", b'{"b": 2}')]),
        (b'{no json}\n{"b": 2}\n', [(":1", b"{no json}"), (":2", b'{"b": 2}')]),
        (DOCUMENT, [("", DOCUMENT)]),
        (DOCUMENT + b"\n" + DOCUMENT, [(":1", DOCUMENT), (":2", DOCUMENT)]),
        (b"", [("", b"")]),
    ],
)
def test_the_content_tells_one_sample_from_many(
    tmp_path: Path, content: bytes, expected: list[tuple[str, bytes]]
) -> None:
    """Byte for byte; only the ends of lines are not sent, where each line is a sample."""
    file = tmp_path / "some.json"
    file.write_bytes(content)

    assert samples(file) == expected


def test_the_name_goes_before_the_content(tmp_path: Path) -> None:
    """A file of lines may begin with one that is no object, and may be empty."""
    file = tmp_path / "some.ndjson"
    file.write_bytes(b"[\n{}\n")
    empty = tmp_path / "none.jsonl"
    empty.touch()

    assert samples(file) == [(":1", b"["), (":2", b"{}")]
    assert samples(empty) == []


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_compression_is_told_from_the_first_bytes(tmp_path: Path, compress: object) -> None:
    """Several members in a row are one file; one that is cut off or damaged says so, behind what could be read."""
    assert callable(compress)
    whole = tmp_path / "whole.ndjson"
    whole.write_bytes(compress(b'{"a": 1}\n') + compress(b'{"b": 2}\n'))
    cut = tmp_path / "cut.ndjson"
    cut.write_bytes(compress(b'{"a": 1}\n') + compress(DOCUMENT)[:-9])

    read = samples(cut)

    assert samples(whole) == [(":1", b'{"a": 1}'), (":2", b'{"b": 2}')]
    assert read[0] == (":1", b'{"a": 1}')
    assert str(read[-1][1]).startswith("cannot be read: ")


def test_a_file_that_cannot_be_opened_is_one_fault_among_samples(tmp_path: Path) -> None:
    """It stops no other."""
    assert samples(tmp_path / "gone.json") == [("", "cannot be read: No such file or directory")]
