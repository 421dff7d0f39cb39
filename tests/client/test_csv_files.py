"""CSV files become samples. These tests need no server."""

import json
from pathlib import Path

import pytest

from dropzone import UnusableSample, read_csv
from dropzone.submission.compression import READ_BYTES
from tests.client.test_sample_files import samples

TABLE = """time_stamp,label.site,x,y
2026-05-01T00:00:00Z,zürich,1.5,2
2026-05-01T00:00:00Z,zürich,3,
2026-05-01T00:00:00Z,,4,1e3
"2026-05-01T01:00:00Z",bern,"-5",nan

2026-05-01T02:00:00Z,bern,many,0
2026-05-01T04:00:00Z,bern,inf,1_0
2026-05-01T05:00:00Z,bern,7,8"""
FIRST = {"time_stamp": "2026-05-01T00:00:00Z", "data": [1.5, 2, 3, None]}


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_rows_of_a_table_become_samples(tmp_path: Path, line_end: str) -> None:
    """Consecutive rows with the same time stamp and labels are one sample. A wrong row is an error, others are read."""
    file = tmp_path / "table.CSV"
    file.write_bytes(b"\xef\xbb\xbf" + TABLE.replace("\n", line_end).encode())

    read = [(source, json.loads(raw) if isinstance(raw, bytes) else raw) for source, raw in samples(file)]

    bern = {"labels": {"site": "bern"}}
    assert dict(read) == {
        ":2": FIRST | {"labels": {"site": "zürich"}, "missing": "skip"},
        ":4": {"time_stamp": "2026-05-01T00:00:00Z", "data": [4, 1000]},
        ":5": {"time_stamp": "2026-05-01T01:00:00Z", "data": [-5, None], "missing": "skip"} | bern,
        ":7": "expected a number, got 'many' - in column x",
        ":8": "expected a number, got 'inf' - in column x",
        ":9": {"time_stamp": "2026-05-01T05:00:00Z", "data": [7, 8]} | bern,
    }


def test_a_line_end_between_two_reads_is_one_line_end(tmp_path: Path) -> None:
    """The number of a line would be wrong if a carriage return and a line feed were two."""
    file = tmp_path / "long.csv"
    start = b"time_stamp,x\r\n"
    row = b"2026-05-01T00:00:01Z," + b"1" * (READ_BYTES - len(start) - 22)
    file.write_bytes(start + row + b"\r\n2026-05-01T00:00:02Z,2\r\n")

    assert [source for source, _ in samples(file)] == [":2", ":3"]


@pytest.mark.parametrize("header", ["time_stamp,value", '"value","time_stamp"', "\ufefftime_stamp,value"])
def test_the_first_line_of_a_table_tells_it_from_other_files(tmp_path: Path, header: str) -> None:
    """The name of a stream has no suffix."""
    file = tmp_path / "some.txt"
    time, value = ("2026-05-01T06:00:00Z", "1")
    row = f"{value},{time}" if header.startswith('"') else f"{time},{value}"
    file.write_text(f"{header}\n{row}\n", encoding="utf-8")

    assert samples(file) == [(":2", json.dumps({"data": [1.0], "time_stamp": time}, separators=(",", ":")).encode())]


def test_rows_of_empty_cells_are_ignored(tmp_path: Path) -> None:
    """Spreadsheets save cleared rows, also before the table and after it."""
    file = tmp_path / "cleared.csv"
    file.write_text(",,\ntime_stamp,label.a,x\n2026-05-01T00:00:01Z,b,1\n,,\n2026-05-01T00:00:01Z,b,2\n,,\n")

    assert samples(file) == [(":3", b'{"data":[1.0,2.0],"time_stamp":"2026-05-01T00:00:01Z","labels":{"a":"b"}}')]


def test_the_index_of_pandas_is_not_measured_values(tmp_path: Path) -> None:
    """By default, `to_csv` writes the numbers of the rows into a column without a name."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"time_stamp": ["2026-05-01T00:00:01Z", "2026-05-01T00:00:01Z", "2026-05-01T00:00:02Z"], "x": [1.5, 2.5, 3.5]}
    )
    indexed, plain = tmp_path / "indexed.csv", tmp_path / "plain.csv"
    frame.to_csv(indexed)
    frame.to_csv(plain, index=False)

    read = samples(indexed)

    assert [source for source, _ in read] == [":2", ":3", ":4"]
    assert read[0][1] == (
        "expected an empty cell, got '0' in a column without a name; pandas writes its index into a column without a "
        "name; write the file with index=False"
    )
    assert [sample["data"] for sample in read_csv(plain)] == [[1.5, 2.5], [3.5]]


def test_empty_cells_in_a_column_without_a_name_are_not_missing_values(tmp_path: Path) -> None:
    """Spreadsheets save a cleared column as commas at the ends of the lines."""
    file = tmp_path / "commas.csv"
    file.write_text("time_stamp,x,, \n2026-05-01T00:00:01Z,1,,\n2026-05-01T00:00:01Z,2,, \n")

    assert samples(file) == [(":2", b'{"data":[1.0,2.0],"time_stamp":"2026-05-01T00:00:01Z"}')]


def test_a_table_without_time_stamps_is_an_error(tmp_path: Path) -> None:
    """Text that is not UTF-8 is one too, after the samples before it. The client raises the error."""
    wrong, binary = tmp_path / "wrong.csv", tmp_path / "binary.csv"
    wrong.write_text("time,x\n1,2\n")
    binary.write_bytes(b"time_stamp,x\n2026-05-01T00:00:00Z,1\n\xff")
    good = tmp_path / "good.csv"
    good.write_text("x,time_stamp\n1,2026-05-01T00:00:00Z\n2,2026-05-01T00:00:00Z\n")

    expected = "expected columns separated by commas, one of them with the name time_stamp, got 'time,x'"
    assert samples(wrong) == [(":1", expected)]
    assert "expected CSV in UTF-8" in str(samples(binary)[0][1])
    assert list(read_csv(good)) == [{"time_stamp": "2026-05-01T00:00:00Z", "data": [1, 2]}]
    with pytest.raises(UnusableSample, match="got 'time,x' - on line 1"):
        list(read_csv(wrong))


@pytest.mark.parametrize("cell", [b"\xff", b"x"])
def test_an_error_repeats_the_start_of_a_long_cell(tmp_path: Path, cell: bytes) -> None:
    """A line of a binary file can have many kilobytes."""
    file = tmp_path / "long.csv"
    file.write_bytes(b"time_stamp,x\n2026-05-01T00:00:01Z," + cell * 9_999)

    [(_, error)] = samples(file)

    assert len(str(error)) < 350


@pytest.mark.parametrize("name", ["time_stamp", "label.site"])
def test_a_time_stamp_or_label_with_two_columns_is_an_error(tmp_path: Path, name: str) -> None:
    """The samples would have the value of one column, and the other value would be lost."""
    file = tmp_path / "twice.csv"
    file.write_text(f"time_stamp,label.site,x,x, {name}\n2026-05-01T00:00:00Z,bern,1,2,zug\n")

    assert samples(file) == [(":1", f"expected the column {name} once, got it 2 times")]


@pytest.mark.parametrize(
    ("row", "whole", "refused"),
    [
        (b"2026-05-01T00:00:02Z,b,\xff4", [2, 6], [3, 4]),
        (b'2026-05-01T00:00:02Z,b,"4"x', [2, 6], [3, 4]),
        (b"2026-05-01T00:00:02Z,b,4O", [2, 6], [3, 4]),
        (b"2026-05-01T00:00:09Z,b,4O", [2, 3, 5, 6], [4]),
        (b'2026-05-01T00:00:02Z,"b ""c""",4O', [2, 3, 5, 6], [4]),
        (b"2026-05-01T00:00:02Z,b,4,5", [2, 6], [3, 4, 5]),
        (b"2026-05-01T00:00:2Z,b,4", [2, 6], [3, 4, 5]),
        (b"2026-02-30T00:00:02Z,b,4", [2, 6], [3, 4, 5]),
        (b"2026-05-01T24:00:02Z,b,4", [2, 6], [3, 4, 5]),
        (b"2026-05-01T00:00:02Z,b", [2, 6], [3, 4, 5]),
        (b"2026-05-01T00:00:02Z,b\x01,4", [2, 6], [3, 4, 5]),
        (b"2026-05-01T00:00:02Z,b" + b"b" * 64 + b",4", [2, 6], [3, 4, 5]),
        (b'2026-05-01T00:00:02Z,b,"4', [2, 6], [3, 4]),
        (b"2026-05-01T00:00:09Z,b,\xff4", [2, 3, 5, 6], [4]),
        (b"t\xff,b,4", [2, 6], [3, 4, 5]),
        (b'"2026-05-01T00:00:02Z,b,4', [2, 6], [3, 4, 5]),
    ],
)
def test_an_invalid_row_does_not_shorten_a_sample(
    tmp_path: Path, row: bytes, whole: list[int], refused: list[int]
) -> None:
    """The samples that it can belong to are refused, with the numbers of their lines. All other samples are read.

    A shortened sample would be stored twice: before the row is corrected, and as a whole afterwards.
    """
    file = tmp_path / "table.csv"
    before = b"time_stamp,label.a,x\n2026-05-01T00:00:01Z,,1\n2026-05-01T00:00:02Z,b,3\n"
    after = b"\n2026-05-01T00:00:02Z,b,5\n2026-05-01T00:00:03Z,b,6\n2026-05-01T00:00:03Z,b,7"
    file.write_bytes(before + row + after)

    read = {int(source[1:]): content for source, content in samples(file)}

    assert sorted(number for number, content in read.items() if isinstance(content, bytes)) == whole
    assert sorted(number for number, content in read.items() if isinstance(content, str)) == refused
    assert str(read[4]).startswith("expected ")
    assert {read[number] for number in refused if number != 4} <= {
        "this sample may lack values, because line 4 is invalid"
    }
    assert json.loads(read[6]) == {"time_stamp": "2026-05-01T00:00:03Z", "labels": {"a": "b"}, "data": [6, 7]}
    with pytest.raises(UnusableSample, match="on line 4"):
        list(read_csv(file))


def test_a_refused_sample_has_another_line_than_its_invalid_row(tmp_path: Path) -> None:
    """It has the number of its first valid row, so that no line has two errors."""
    file = tmp_path / "table.csv"
    file.write_text("time_stamp,x\n2026-05-01T00:00:01Z,one\n2026-05-01T00:00:01Z,two\n2026-05-01T00:00:01Z,3\n")

    read = samples(file)

    assert [source for source, _ in read] == [":2", ":3", ":4"]
    assert read[2][1] == "this sample may lack values, because line 2 is invalid"
