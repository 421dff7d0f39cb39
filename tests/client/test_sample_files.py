"""Files become samples. These tests need no server."""

import gzip
import os
from pathlib import Path

import pytest
import zstandard

from dropzone import DropzoneError
from dropzone.command import sample_files
from dropzone.submission.file_format import FileFormat

DOCUMENT = b'{"data": [%s]}' % b",".join([b"0.123456789"] * 200_000)  # longer than one read


def samples(file: Path, file_format: FileFormat | None = None) -> list[tuple[str, bytes | str]]:
    """Return the items of a file: each source without the path of the file, and the bytes or the error message."""
    items = [item for batch in sample_files.read(file, file_format) for item in batch.items]
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
        (b'{"a": "{"}\n{"b": 2}\n', [(":1", b'{"a": "{"}'), (":2", b'{"b": 2}')]),
        (b'{"a": "}\\"}",\n"b": 2}\n', [("", b'{"a": "}\\"}",\n"b": 2}\n')]),
        (b'a": 1}\n{"b": 2}\n', [(":1", b'a": 1}'), (":2", b'{"b": 2}')]),
        (b'{"a": "to\n{"b": 2}\n', [(":1", b'{"a": "to'), (":2", b'{"b": 2}')]),
        (b'{"a": [1,"time_stamp",2]}\n{"b": 2}', [(":1", b'{"a": [1,"time_stamp",2]}'), (":2", b'{"b": 2}')]),
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


@pytest.mark.parametrize("name", ["one.json", "some.ndjson"])
def test_a_byte_order_mark_at_the_start_of_a_file_is_not_sent(tmp_path: Path, name: str) -> None:
    """PowerShell and Notepad can write it, and the API refuses it. A mark elsewhere is content."""
    mark = b"\xef\xbb\xbf"
    file = tmp_path / name
    file.write_bytes(mark + b'{"a": 1}\n' + mark + b'{"b": 2}\n')

    assert samples(file) == [(":1", b'{"a": 1}'), (":2", mark + b'{"b": 2}')]
    file.write_bytes(mark + b'{"a":\n1}')
    assert samples(file, FileFormat.JSON) == [("", b'{"a":\n1}')]


def test_name_takes_precedence_over_content(tmp_path: Path) -> None:
    """An NDJSON file can start with a line that is not an object, and can be empty."""
    file = tmp_path / "some.ndjson"
    file.write_bytes(b"[\n{}\n")
    empty = tmp_path / "none.jsonl"
    empty.touch()

    assert samples(file) == [(":1", b"["), (":2", b"{}")]
    assert samples(empty) == []


def test_a_format_takes_precedence_over_the_name_and_the_content(tmp_path: Path) -> None:
    """Content cannot show the format if the first line of a stream is torn after a comma."""
    lines = tmp_path / "torn.json"
    lines.write_bytes(b'{"a": 1,\n{"b": 2}\n')
    table = tmp_path / "table.txt"
    table.write_bytes(b"time_stamp,x\n2026-05-01T00:00:01Z,1\n")

    assert samples(lines) == [("", lines.read_bytes())]
    assert samples(lines, FileFormat.NDJSON) == [(":1", b'{"a": 1,'), (":2", b'{"b": 2}')]
    assert samples(table, FileFormat.CSV) == [(":2", b'{"data":[1.0],"time_stamp":"2026-05-01T00:00:01Z"}')]
    assert samples(tmp_path / "table.txt", FileFormat.JSON) == [("", table.read_bytes())]


@pytest.mark.parametrize("start", [b"PK\x03\x04\x14", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
@pytest.mark.parametrize("name", ["table.xlsx", "table.csv", "table"])
def test_a_spreadsheet_is_refused_with_advice(tmp_path: Path, name: str, start: bytes) -> None:
    """The server would say that it is not JSON. The first bytes show the format also if the name does not."""
    file = tmp_path / name
    file.write_bytes(start + bytes(99))

    [(_, refusal)] = samples(file)

    assert refusal == (
        "expected JSON, NDJSON or CSV, got a spreadsheet or a ZIP archive; save a spreadsheet as CSV in UTF-8"
    )


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


def test_a_link_to_a_missing_file_is_reported(tmp_path: Path) -> None:
    """For example on a disk that is not mounted. A folder left out the link silently."""
    (tmp_path / "link.json").symlink_to(tmp_path / "missing")

    [link] = sample_files.expand([tmp_path])

    assert samples(link) == [("", "cannot be read: No such file or directory")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read each folder")
def test_a_subfolder_without_permission_is_reported(tmp_path: Path) -> None:
    """Its samples were left out silently. A hidden folder is left out anyway."""
    (tmp_path / "a.json").touch()
    for name in ("site", ".site"):
        (tmp_path / name).mkdir(mode=0)

    file, folder = sample_files.expand([tmp_path])

    assert file == tmp_path / "a.json"
    assert samples(folder) == [("", "cannot be read: Permission denied")]
