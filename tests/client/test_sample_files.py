"""Files become samples. These tests need no server."""

import gzip
from pathlib import Path

import pytest
import zstandard

from dropzone import DropzoneError
from dropzone.command import sample_files

DOCUMENT = b'{"data": [%s]}' % b",".join([b"0.123456789"] * 200_000)  # longer than one read


def samples(file: Path) -> list[tuple[str, bytes | str]]:
    """Return the items of a file: each source without the path of the file, and the bytes or the error message."""
    items = [item for batch in sample_files.read(file) for item in batch.items]
    return [
        (item.source.removeprefix(str(file)), str(item.raw) if isinstance(item.raw, DropzoneError) else item.raw)
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
def test_content_tells_one_sample_from_many(tmp_path: Path, content: bytes, expected: list[tuple[str, bytes]]) -> None:
    """Samples are read byte for byte. Only the line ends of NDJSON are removed."""
    file = tmp_path / "some.json"
    file.write_bytes(content)

    assert samples(file) == expected


def test_name_takes_precedence_over_content(tmp_path: Path) -> None:
    """An NDJSON file can start with a line that is not an object, and can be empty."""
    file = tmp_path / "some.ndjson"
    file.write_bytes(b"[\n{}\n")
    empty = tmp_path / "none.jsonl"
    empty.touch()

    assert samples(file) == [(":1", b"["), (":2", b"{}")]
    assert samples(empty) == []


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_first_bytes_tell_the_compression(tmp_path: Path, compress: object) -> None:
    """Consecutive compressed members form one file. A truncated file yields its readable samples and then an error."""
    assert callable(compress)
    whole = tmp_path / "whole.ndjson"
    whole.write_bytes(compress(b'{"a": 1}\n') + compress(b'{"b": 2}\n'))
    truncated = tmp_path / "truncated.ndjson"
    truncated.write_bytes(compress(b'{"a": 1}\n') + compress(DOCUMENT)[:-9])

    read = samples(truncated)

    assert samples(whole) == [(":1", b'{"a": 1}'), (":2", b'{"b": 2}')]
    assert read[0] == (":1", b'{"a": 1}')
    assert str(read[-1][1]).startswith("cannot be read: ")


def test_unreadable_file_is_an_error_item(tmp_path: Path) -> None:
    """Other files are still read."""
    assert samples(tmp_path / "gone.json") == [("", "cannot be read: No such file or directory")]
