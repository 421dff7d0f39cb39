"""CSV files as the dashboard reads them, in Node.js without a browser."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropzone import UnusableSample
from dropzone.submission import csv_samples
from graphql_api.web.pages import DASHBOARD_FOLDER

ESBUILD = DASHBOARD_FOLDER / "node_modules" / ".bin" / "esbuild"
RUN = """
    import { toNdjson } from './csv.mjs';
    import { createInterface } from 'node:readline';
    let matches = 0;
    let most = 0; // between two pauses
    const { exec } = RegExp.prototype;
    RegExp.prototype.exec = function (text) {
        matches += 1;
        return exec.call(this, text);
    };
    const onRead = () => {
        most = Math.max(most, matches);
        matches = 0;
    };
    for await (const line of createInterface({ input: process.stdin })) {
        let outcome;
        most = matches = 0;
        try {
            const file = new Blob([JSON.parse(line)]);
            const { ndjson, badRows } = await toNdjson(file, onRead, new AbortController().signal);
            outcome = { ndjson: await ndjson.text(), badRows };
        } catch (error) { outcome = { error: error.message }; }
        console.log(JSON.stringify([outcome, most]));
    }
"""
NUMBERS = ["1", "-2.50", ".5", "+5.", "007", "1e3", "2E-05", "-.5e1", " 4 ", "0", "00.10"]
MISSING = ["", " ", "NaN", "-nan"]
WRONG = ["six", "1_0", "0x1", ".", "1e999", "inf", 'a"b', '"1"2', "1,2"]
QUOTED = ['"6"', '"7\n"', '"8""9"', '""']
WRONG_LABELS = ["\u200da", "a\u200d", "a\u200d\u200cb", "a\u202eb", "a\u00a0b", "a\x01b", "x" * 65, "\U0001f468" * 65]
CELLS = st.sampled_from([*NUMBERS, *MISSING, *WRONG, *QUOTED])
ROWS = st.tuples(
    st.sampled_from(["2026-05-01T00:00:01Z", "2026-05-01T00:00:02Z", '"t\n3"', '"t ""4"""']),
    st.sampled_from(["", "zürich", '"a, b"', "\U0001f468\u200d\U0001f469", *WRONG_LABELS]),
    CELLS,
    CELLS,
)
TABLES = st.builds(
    lambda columns, rows, end, last: end.join([f"time_stamp,label.site,{columns}", *map(",".join, rows)]) + last,
    st.sampled_from(["inner,outer", "inner,", " ,outer"]),
    st.lists(ROWS, max_size=6),
    st.sampled_from(["\n", "\r\n", "\n\n", "\n,,,\n", "\n \n", "\n , ,\n"]),
    st.sampled_from(["", "\n", "\n,", '\n"']),
)


class Reader:
    """The page's reader of CSV files, in a process of Node.js."""

    def __init__(self, folder: Path, piece_bytes: int) -> None:
        self.piece_bytes = piece_bytes
        self.most_matches = 0
        """The largest number of matches of regular expressions between two pauses, in the last table."""
        text, count = re.subn(
            r"PIECE_BYTES = .*;", f"PIECE_BYTES = {piece_bytes};", (DASHBOARD_FOLDER / "src" / "csv.ts").read_text()
        )
        assert count == 1
        source = folder / "csv.ts"
        source.write_text(text)
        subprocess.run([ESBUILD, source, "--format=esm", f"--outfile={folder / 'csv.mjs'}"], check=True)
        script = folder / "run.mjs"
        script.write_text(RUN)
        self.process = subprocess.Popen(["node", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self, text: str) -> Any:
        """Return the lines of NDJSON and the bad rows, or the error."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(text) + "\n")
        self.process.stdin.flush()
        outcome, self.most_matches = json.loads(self.process.stdout.readline())
        return outcome


@pytest.fixture(scope="module", params=[1, 7, 128 * 1024])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Yield a reader of pieces of this size, if npm has installed the packages of the page."""
    if not ESBUILD.exists():
        pytest.skip("needs the packages of the page, which npm installs")
    started = Reader(tmp_path_factory.mktemp("csv"), request.param)
    yield started
    started.process.communicate()


def test_consecutive_rows_with_the_same_time_and_labels_are_one_sample(reader: Reader) -> None:
    """Digits are kept. A sample has the line of its first row, and a line break in quotes ends no row."""
    table = (
        'time_stamp,label.site,"x\n1"\n2026-05-01T00:00:01Z,bern,0.10\n2026-05-01T00:00:01Z,bern,.5\n\n'
        '2026-05-01T00:00:01Z,basel,NaN\n2026-05-01T00:00:01Z,basel,"2"\n2026-05-01T00:00:02Z,,six\n'
    )

    assert reader.read(table) == {
        "ndjson": '\n\n{"time_stamp":"2026-05-01T00:00:01Z","labels":{"site":"bern"},"data":[0.10,0.5]}\n\n\n'
        '{"time_stamp":"2026-05-01T00:00:01Z","labels":{"site":"basel"},"data":[null,2],"missing":"skip"}',
        "badRows": [{"line": 8, "message": 'expected a number, got "six" in column x\n1'}],
    }


def test_a_long_row_is_converted_while_it_is_read(reader: Reader) -> None:
    """The page responds to the user between two pieces. Three expressions match each cell.

    The page reads the start of a long cell again when it has twice as much text.
    """
    cells = 100 + 2 * reader.piece_bytes

    read = reader.read(f"time_stamp{',x' * cells}\n2026-05-01T00:00:01Z{',1' * cells}\n")

    assert read == {
        "ndjson": f'\n{{"time_stamp":"2026-05-01T00:00:01Z","data":[{",".join("1" * cells)}]}}',
        "badRows": [],
    }
    assert reader.most_matches <= 3 * (reader.piece_bytes // 2 + 20)


@pytest.mark.parametrize(
    ("row", "sent", "refused"),
    [
        ("2026-05-01T00:00:02Z,4O", [2, 6], [3, 4]),
        ("2026-05-01T00:00:09Z,4O", [2, 3, 5, 6], [4]),
        ("2026-05-01T00:00:02Z,4,5", [2, 6], [3, 4, 5]),
        ("2026-05-01T00:00:2Z,4", [2, 6], [3, 4, 5]),
        ("2026-02-29T00:00:02Z,4", [2, 6], [3, 4, 5]),
        ("2100-02-29T00:00:02Z,4", [2, 6], [3, 4, 5]),
        ("2024-02-29T00:00:02Z,4", [2, 3, 4, 5, 6], []),
        ("0000-05-01T00:00:02Z,4", [2, 6], [3, 4, 5]),
        ("2026-05-00T00:00:02Z,4", [2, 6], [3, 4, 5]),
        ("2026-13-01T00:00:02Z,4", [2, 6], [3, 4, 5]),
        ("2026-05-01T24:00:02Z,4", [2, 6], [3, 4, 5]),
        ("2026-05-01T00:60:02Z,4", [2, 6], [3, 4, 5]),
        ("2026-05-01T00:00:60Z,4", [2, 6], [3, 4, 5]),
        ("2026-05-01T00:00:02Z", [2, 6], [3, 4, 5]),
    ],
)
def test_an_invalid_row_does_not_shorten_a_sample(
    reader: Reader, row: str, sent: list[int], refused: list[int]
) -> None:
    """The samples that it can belong to are refused, with the numbers of their lines. All other samples are sent.

    A shortened sample would be stored twice: before the row is corrected, and as a whole afterwards.
    """
    read = reader.read(
        f"time_stamp,x\n2026-05-01T00:00:01Z,1\n2026-05-01T00:00:02Z,3\n{row}\n2026-05-01T00:00:02Z,5\n2026-05-01T00:00:03Z,6\n"
    )

    assert [number for number, line in enumerate(read["ndjson"].split("\n"), start=1) if line] == sent
    assert [bad["line"] for bad in read["badRows"]] == refused
    assert {bad["message"] for bad in read["badRows"] if bad["line"] != 4} <= {
        "this sample may lack values, because line 4 is invalid"
    }


@pytest.mark.parametrize("label", WRONG_LABELS)
def test_a_label_that_the_server_refuses_does_not_split_a_sample(reader: Reader, label: str) -> None:
    """After the user has corrected the label, the three rows can be one sample."""
    time = "2026-05-01T00:00:01Z"

    read = reader.read(f"time_stamp,label.site,x\n{time},a,1\n{time},{label},2\n{time},a,3\n")

    assert read["ndjson"] == ""
    assert [bad["line"] for bad in read["badRows"]] == [2, 3, 4]
    assert read["badRows"][1]["message"].startswith("expected at most 64 printable characters, got ")


def test_a_refused_sample_has_another_line_than_its_invalid_row(reader: Reader) -> None:
    """The page lists each line once. A sample has the number of its first valid row."""
    read = reader.read("time_stamp,x\n2026-05-01T00:00:01Z,one\n2026-05-01T00:00:01Z,two\n2026-05-01T00:00:01Z,3\n")

    assert read["ndjson"] == ""
    assert [bad["line"] for bad in read["badRows"]] == [2, 3, 4]
    assert read["badRows"][2]["message"] == "this sample may lack values, because line 2 is invalid"


def test_the_index_of_pandas_is_not_measured_values(reader: Reader) -> None:
    """By default, `to_csv` writes the numbers of the rows into a column without a name."""
    read = reader.read(",time_stamp,value\n0,2026-05-01T00:00:01Z,20.5\n1,2026-05-01T00:00:02Z,20.6\n")

    message = (
        'expected an empty cell, got "0" in a column without a name; pandas writes its index into a column without a '
        "name; write the file with index=False"
    )
    assert read["ndjson"] == ""
    assert read["badRows"] == [{"line": 2, "message": message}, {"line": 3, "message": message.replace("0", "1")}]


def test_empty_cells_in_a_column_without_a_name_are_not_missing_values(reader: Reader) -> None:
    """Spreadsheets save a cleared column as commas at the ends of the lines."""
    read = reader.read("time_stamp,x,, \n2026-05-01T00:00:01Z,1,,\n2026-05-01T00:00:01Z,2,, \n")

    assert read == {"ndjson": '\n{"time_stamp":"2026-05-01T00:00:01Z","data":[1,2]}', "badRows": []}


def test_rows_of_spaces_are_empty(reader: Reader) -> None:
    """They do not divide a sample, and do not make it invalid."""
    read = reader.read("time_stamp,x\n2026-05-01T00:00:01Z,1\n  \n , \n2026-05-01T00:00:01Z,2\n")

    assert read == {"ndjson": '\n{"time_stamp":"2026-05-01T00:00:01Z","data":[1,2]}', "badRows": []}


@settings(deadline=None)
@given(table=TABLES)
def test_the_page_reads_the_samples_that_the_client_reads(reader: Reader, table: str) -> None:
    """The same samples and as many bad rows. The page sends no sample of a file that is not CSV."""
    expected = [sample for _, sample in csv_samples(table.splitlines(keepends=True))]
    errors = [str(sample) for sample in expected if isinstance(sample, UnusableSample)]

    read = reader.read(table)

    if any(error.startswith("expected CSV") for error in errors):
        assert "on line" in read["error"]
        return
    assert [json.loads(line) for line in read["ndjson"].splitlines() if line] == [
        sample for sample in expected if not isinstance(sample, UnusableSample)
    ]
    assert len(read["badRows"]) == len(errors)


@pytest.mark.parametrize("name", ["time_stamp", "label.site"])
def test_a_time_stamp_or_label_in_two_columns_is_refused(reader: Reader, name: str) -> None:
    """The sample would have the value of one column, and the value of the other one would be lost."""
    table = f"time_stamp,label.site,x, {name} \n2026-05-01T00:00:01Z,bern,1,2026-05-01T00:00:02Z\n"

    assert reader.read(table) == {"error": f"expected the column {name} once, got it 2 times"}
