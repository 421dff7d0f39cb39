"""Results taken away as a file: the same ones as the query finds, whole or visibly not."""

import csv
import http.client
import io
import json
import socket
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.graphql_api.results.measured import FIELDS, Measured, write_results
from tests.stack import Stack

STORED = {name: "standard_deviation" if name == "standardDeviation" else name for name in FIELDS.values()}
COLUMNS = """id timestamp count mean standard_deviation minimum maximum sum sample_standard_deviation
    percentile_1 percentile_5 lower_quartile median upper_quartile percentile_95 percentile_99 skewness kurtosis
    computed_at statistics_version""".split()  # noqa: SIM905 - a list of words is to be read


def get(measured: Measured, path: str = "/results", **headers: str) -> httpx.Response:
    """Return the answer to `GET /results`, which is one."""
    answer = measured.stack.get(path, **{"x-api-key": measured.key, **headers})
    assert answer.status_code == 200, answer.text
    return answer


def rows(answer: httpx.Response) -> list[Any]:
    """Return the objects of NDJSON."""
    assert answer.content.endswith(b"\n") or not answer.content
    return [json.loads(line) for line in answer.content.splitlines()]


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("field", FIELDS)
def test_lines_are_the_results_of_the_query_in_its_order(measured: Measured, field: str, direction: str) -> None:
    """All of them, with all of their digits."""
    edges = measured.page(first=500, orderBy={"field": field, "direction": direction.upper()})["edges"]

    found = rows(get(measured, f"/results?order_by={STORED[FIELDS[field]]}&direction={direction}"))

    assert [row["id"] for row in found] == [edge["node"]["id"] for edge in edges]
    for row, edge in zip(found, edges, strict=True):
        assert {name: row[STORED[name]] for name in STORED} == {name: edge["node"][name] for name in STORED}
        assert len(row["histogram"]["edges"]) == len(row["histogram"]["counts"]) + 1


def test_the_latest_come_first_unless_said_otherwise(measured: Measured) -> None:
    """As in the query."""
    found = [row["id"] for row in rows(get(measured))]

    assert found == [edge["node"]["id"] for edge in measured.page(first=500)["edges"]]


def test_ranges_are_those_of_the_query(measured: Measured) -> None:
    """On numbers and on the time, all at once."""
    ranges = {"mean": {"gte": 1, "lt": 3}, "median": {"gt": 0}, "timestamp": {"lt": "2020-01-05T00:00:00Z"}}
    path = "/results?mean.gte=1&mean.lt=3&median.gt=0&timestamp.lt=2020-01-05T00:00:00Z"

    found = rows(get(measured, path))

    assert [row["id"] for row in found] == measured.pages(50, filter=ranges)
    assert 0 < len(found) < 60


def test_csv_has_a_line_of_names_and_every_digit(measured: Measured) -> None:
    """As RFC 4180 has it; the histogram, which is no one value, is left out."""
    answer = get(measured, "/results?format=csv&order_by=mean")
    lines = rows(get(measured, "/results?order_by=mean"))

    names_line, *values = csv.reader(io.StringIO(answer.text, newline=""), strict=True)

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="results.csv"'
    assert names_line == COLUMNS
    assert answer.text.count("\r\n") == answer.text.count("\n") == 61
    for row, line in zip(values, lines, strict=True):
        for name, text in zip(COLUMNS, row, strict=True):
            expected = line[name]
            assert text == "" if expected is None else type(expected)(text) == expected


@pytest.mark.parametrize("name", ["arrow", "parquet"])
def test_arrow_and_parquet_have_the_same_rows(measured: Measured, name: str) -> None:
    """With types: times are times."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    lines = rows(get(measured, "/results?order_by=mean"))

    content = io.BytesIO(get(measured, f"/results?format={name}&order_by=mean").content)

    table = parquet.read_table(content) if name == "parquet" else pyarrow.ipc.open_stream(content).read_all()
    found = table.to_pylist()
    for row, line in zip(found, lines, strict=True):
        assert row.pop("timestamp") == datetime.fromisoformat(line.pop("timestamp"))
        assert row.pop("computed_at") == datetime.fromisoformat(line.pop("computed_at"))
    assert found == lines


def test_the_format_is_negotiated(measured: Measured) -> None:
    """By Accept, where the address does not say it."""
    types = {
        header: get(measured, accept=header).headers["content-type"]
        for header in ("*/*", "text/csv", "text/*, application/x-ndjson;q=0.5", "application/x-ndjson")
    }

    assert types == {
        "*/*": "application/x-ndjson",
        "text/csv": "text/csv; charset=utf-8",
        "text/*, application/x-ndjson;q=0.5": "text/csv; charset=utf-8",
        "application/x-ndjson": "application/x-ndjson",
    }


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/results?meen.gte=1", 400, ["`meen.gte`", "standard_deviation", "order_by"]),
        ("/results?mean=1", 400, ["`mean`", ".gte"]),
        ("/results?first=10", 400, ["`first`"]),
        ("/results?mean.gte=1&mean.gte=2", 400, ["`mean.gte`", "one value"]),
        ("/results?mean.gte=nan", 400, ["`mean.gte`", "finite number"]),
        ("/results?mean.gte=", 400, ["`mean.gte`"]),
        ("/results?mean.gte=1e400", 400, ["`mean.gte`", "finite number"]),
        ("/results?mean.gte=1_000", 400, ["`mean.gte`"]),
        ("/results?mean.gte=%205", 400, ["`mean.gte`"]),
        ("/results?count.lt=%D9%A1", 400, ["`count.lt`"]),
        ("/results?count.lt=1.5", 400, ["`count.lt`", "whole number"]),
        ("/results?count.lt=99999999999999999999", 400, ["`count.lt`"]),
        ("/results?count.lt=1" + "0" * 400, 400, ["`count.lt`", "whole number"]),
        ("/results?count.gt=-" + "9" * 5_000, 400, ["`count.gt`", "whole number"]),
        ("/results?timestamp.lt=2026-01-01", 400, ["`timestamp.lt`"]),
        ("/results?order_by=id", 400, ["`order_by`", "computed_at"]),
        ("/results?direction=down", 400, ["`direction`", "asc, desc"]),
        ("/results?format=xml", 400, ["`format`", "ndjson, csv"]),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_name(stack: Stack, path: str, status: int, words: list[str]) -> None:
    """Never passed over: it would be taken for a filter that held."""
    answer = stack.get(path)

    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert [word for word in words if word not in error["message"]] == []


def test_who_may_not_read_takes_nothing_away(stack: Stack) -> None:
    """And nobody sees what another has; a type that there is not is said to be none."""
    statuses = {
        "no key": httpx.get(f"{stack.url}/results").status_code,
        "no scope": stack.get("/results", **{"x-api-key": stack.new_key("submits", "submit")}).status_code,
        "not acceptable": stack.get("/results", accept="image/png").status_code,
        "not a way in": httpx.post(f"{stack.url}/results", headers={"x-api-key": stack.key}).status_code,
    }
    nothing = stack.get("/results", **{"x-api-key": stack.new_key("has-nothing")})

    assert statuses == {"no key": 401, "no scope": 403, "not acceptable": 406, "not a way in": 405}
    assert (nothing.status_code, nothing.content) == (200, b"")


def test_head_tells_the_type_and_reads_nothing(stack: Stack) -> None:
    """As HTTP has it."""
    answer = httpx.head(f"{stack.url}/results?format=csv", headers={"x-api-key": stack.key})

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"


class SlowReader(http.client.HTTPConnection):
    """A client with little room for what it has not read yet."""

    def connect(self) -> None:
        """Connect with a small window."""
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))


def test_an_error_in_the_middle_is_no_end(tmp_path: Any) -> None:
    """The client cannot take what it had for the whole: here its key is revoked while it reads slowly."""
    with Stack(tmp_path, DROPZONE_KEY_CACHE_SECONDS="0") as stack:
        key = stack.new_key("cut-off")
        write_results(stack, "cut-off", [datetime(2020, 1, 1, tzinfo=UTC)] * 1_000, histogram="long " * 3_000)

        with closing(SlowReader("127.0.0.1", stack.api_port, timeout=30)) as connection:
            connection.request("GET", "/results", headers={"x-api-key": key})
            with connection.getresponse() as answer:
                begun = answer.read(100_000)
                stack.keys("revoke", "--submitter", "cut-off")
                with pytest.raises(http.client.IncompleteRead) as cut:
                    answer.read()

    assert answer.status == 200
    assert begun.startswith(b'{"id":')
    assert (begun + cut.value.partial).count(b"\n") < 1_000
