"""`GET /results`: it exports the results that the query returns, and no client mistakes a part for the whole."""

import csv
import http.client
import io
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_api.endpoints import results
from storage.documents import STATISTICS
from tests.another_api import AnotherApi
from tests.graphql_api.results.measured import FIELDS, Measured, write_results
from tests.stack import Stack

STORED = {name: "standard_deviation" if name == "standardDeviation" else name for name in FIELDS.values()}
COLUMNS = [
    "id",
    "timestamp",
    *(name for name in STATISTICS if name != "histogram"),
    "computed_at",
    "statistics_version",
    "labels",
    "missing_count",
]
FIRST_COLUMNS = """id timestamp count mean standard_deviation minimum maximum sum sample_standard_deviation
    percentile_1 percentile_5 lower_quartile median upper_quartile percentile_95 percentile_99 skewness kurtosis
    """.split()  # noqa: SIM905 - a list of words is easier to read


def get(measured: Measured, path: str = "/results", **headers: str) -> httpx.Response:
    """Return the successful response to `GET /results`."""
    response = measured.stack.get(path, **{"x-api-key": measured.key, **headers})
    assert response.status_code == 200, response.text
    return response


def rows(response: httpx.Response) -> list[Any]:
    """Return the objects of an NDJSON body."""
    assert response.content.endswith(b"\n") or not response.content
    return [json.loads(line) for line in response.content.splitlines()]


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("field", FIELDS)
def test_lines_are_the_results_of_the_query_in_the_same_order(measured: Measured, field: str, direction: str) -> None:
    """The export contains all results with all digits."""
    edges = measured.page(first=500, orderBy={"field": field, "direction": direction.upper()})["edges"]

    exported = rows(get(measured, f"/results?order_by={STORED[FIELDS[field]]}&direction={direction}"))

    assert [row["id"] for row in exported] == [edge["node"]["id"] for edge in edges]
    for row, edge in zip(exported, edges, strict=True):
        assert {name: row[STORED[name]] for name in STORED} == {name: edge["node"][name] for name in STORED}
        assert len(row["histogram"]["edges"]) == len(row["histogram"]["counts"]) + 1


def test_the_latest_time_stamp_comes_first_by_default(measured: Measured) -> None:
    """This is the default of the query too."""
    exported = [row["id"] for row in rows(get(measured))]

    assert exported == [edge["node"]["id"] for edge in measured.page(first=500)["edges"]]


def test_filters_are_those_of_the_query(measured: Measured) -> None:
    """Bounds on numbers and on the time stamp can be combined."""
    ranges = {"mean": {"gte": 1, "lt": 3}, "median": {"gt": 0}, "timestamp": {"lt": "2020-01-05T00:00:00Z"}}
    path = "/results?mean.gte=1&mean.lt=3&median.gt=0&timestamp.lt=2020-01-05T00:00:00Z"

    exported = rows(get(measured, path))

    assert [row["id"] for row in exported] == measured.pages(50, filter=ranges)
    assert 0 < len(exported) < 60


@pytest.mark.parametrize("limit", [0, 1, 59, 60, 61])
def test_a_limit_ends_the_export(measured: Measured, limit: int) -> None:
    """The file has the first of the sixty results."""
    everything = [row["id"] for row in rows(get(measured))]

    assert [row["id"] for row in rows(get(measured, f"/results?limit={limit}"))] == everything[:limit]


@given(st.lists(st.integers(0, 600), max_size=5), st.integers(0, 2_000))
async def test_a_limit_ends_the_export_in_any_page(sizes: list[int], limit: int) -> None:
    """Later pages are not read. No batch is so large that it delays other requests."""
    read: list[int] = []

    async def pages() -> AsyncGenerator[list[Any], None]:
        for size in sizes:
            read.append(size)
            yield [object() for _ in range(size)]

    batches = [len(batch) async for batch in results._batches(pages(), limit)]

    assert sum(batches) == min(limit, sum(sizes))
    assert all(0 < batch <= 250 for batch in batches)
    assert sum(read[:-1]) < limit or len(read) <= 1


def test_csv_has_a_header_line_and_all_digits(measured: Measured) -> None:
    """The file follows RFC 4180. It has no histogram column, because a histogram is not a single value.

    A new statistic is added after the others, because scripts rely on the position of a column.
    """
    response = get(measured, "/results?format=csv&order_by=mean")
    lines = rows(get(measured, "/results?order_by=mean"))

    names_line, *values = csv.reader(io.StringIO(response.text, newline=""), strict=True)

    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="results.csv"'
    assert names_line == COLUMNS
    assert names_line[: len(FIRST_COLUMNS)] == FIRST_COLUMNS
    assert response.text.count("\r\n") == response.text.count("\n") == 61
    for row, line in zip(values, lines, strict=True):
        for name, text in zip(COLUMNS, row, strict=True):
            expected = None if name == "labels" else line[name]  # these samples have no labels
            assert text == "" if expected is None else type(expected)(text) == expected


@pytest.mark.parametrize("name", ["arrow", "parquet"])
def test_arrow_and_parquet_have_the_same_rows(measured: Measured, name: str) -> None:
    """Times have a time type."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    lines = rows(get(measured, "/results?order_by=mean"))

    content = io.BytesIO(get(measured, f"/results?format={name}&order_by=mean").content)

    table = parquet.read_table(content) if name == "parquet" else pyarrow.ipc.open_stream(content).read_all()
    exported = table.to_pylist()
    for row, line in zip(exported, lines, strict=True):
        assert row.pop("timestamp") == datetime.fromisoformat(line.pop("timestamp"))
        assert dict(row.pop("labels")) == line.pop("labels") == {}
        assert row.pop("computed_at") == datetime.fromisoformat(line.pop("computed_at"))
    assert exported == lines


def test_the_header_accept_selects_the_format(measured: Measured) -> None:
    """The parameter `format` is not given here."""
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
        ("/results?" + "&".join(f"label.a{number}" for number in range(200)), 400, ["at most", "200"]),
        ("/results?meen.gte=1", 400, ["`meen.gte`", "standard_deviation", "order_by"]),
        ("/results?mean=1", 400, ["`mean`", ".gte"]),
        ("/results?first=10", 400, ["`first`"]),
        ("/results?mean.gte=1&mean.gte=2", 400, ["`mean.gte`", "one value"]),
        ("/results?mean.gte=nan", 400, ["`mean.gte`", "finite number"]),
        ("/results?mean.gte=", 400, ["`mean.gte`", "got an empty string"]),
        ("/results?mean.gte=1e400", 400, ["`mean.gte`", "finite number"]),
        ("/results?mean.gte=1_000", 400, ["`mean.gte`"]),
        ("/results?mean.gte=%205", 400, ["`mean.gte`"]),
        ("/results?count.lt=%D9%A1", 400, ["`count.lt`"]),
        ("/results?count.lt=1.5", 400, ["`count.lt`", "whole number"]),
        ("/results?count.lt=9223372036854775808", 400, ["`count.lt`", "64 bits"]),
        ("/results?count.lt=1" + "0" * 400, 400, ["`count.lt`", "whole number"]),
        ("/results?count.gt=-" + "9" * 5_000, 400, ["`count.gt`", "whole number"]),
        ("/results?timestamp.lt=2026-01-01", 400, ["`timestamp.lt`"]),
        ("/results?timestamp.lt=2026-01-01T00:00:00+02:00", 400, ["`timestamp.lt`", "in a URL, write + as %2B"]),
        ("/results?order_by=id", 400, ["`order_by`", "computed_at"]),
        ("/results?direction=down", 400, ["`direction`", "asc, desc"]),
        ("/results?limit=-1", 400, ["`limit`", "0 to 9223372036854775807"]),
        ("/results?limit=9223372036854775808", 400, ["`limit`", "0 to 9223372036854775807"]),
        ("/results?limit=ten", 400, ["`limit`", "got ten"]),
        ("/results?limit=", 400, ["`limit`", "got an empty string"]),
        ("/results?format=xml", 400, ["`format`", "ndjson, csv"]),
    ],
)
def test_an_invalid_parameter_is_refused_and_named(stack: Stack, path: str, status: int, words: list[str]) -> None:
    """An ignored filter would export too many results."""
    response = stack.get(path)

    assert response.status_code == status
    error = response.json()["error"]
    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert [word for word in words if word not in error["message"]] == []


def test_a_refused_request_exports_nothing(stack: Stack) -> None:
    """A submitter without results gets an empty file, not the results of another submitter."""
    statuses = {
        "no key": httpx.get(f"{stack.url}/results").status_code,
        "no scope": stack.get("/results", **{"x-api-key": stack.new_key("submits", "submit")}).status_code,
        "not acceptable": stack.get("/results", accept="image/png").status_code,
        "wrong method": httpx.post(f"{stack.url}/results", headers={"x-api-key": stack.key}).status_code,
    }
    nothing = stack.get("/results", **{"x-api-key": stack.new_key("has-nothing")})

    assert statuses == {"no key": 401, "no scope": 403, "not acceptable": 406, "wrong method": 405}
    assert (nothing.status_code, nothing.content) == (200, b"")


def test_head_returns_the_headers_of_get(stack: Stack) -> None:
    """No result is read."""
    response = httpx.head(f"{stack.url}/results?format=csv", headers={"x-api-key": stack.key})

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"


class SlowReader(http.client.HTTPConnection):
    """A client with a small receive buffer."""

    def connect(self) -> None:
        """Connect with a small receive window. With 4 KiB, the kernels can end up with one segment in 200 ms."""
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 2**10)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))


def test_an_error_in_the_middle_closes_the_connection_without_an_end(stack: Stack, tmp_path: Path) -> None:
    """The client can see that the body is incomplete. Here its key is revoked while it reads slowly."""
    with AnotherApi(stack, tmp_path, DROPZONE_KEY_CACHE_SECONDS="0") as api:
        key = stack.new_key("cut-off")
        write_results(stack, "cut-off", [datetime(2020, 1, 1, tzinfo=UTC)] * 1_000, histogram="long " * 3_000)

        with closing(SlowReader("127.0.0.1", api.api_port, timeout=30)) as connection:
            connection.request("GET", "/results", headers={"x-api-key": key})
            with connection.getresponse() as response:
                beginning = response.read(100_000)
                stack.keys("revoke", "--submitter", "cut-off", "--yes")
                with pytest.raises(http.client.IncompleteRead) as error:
                    response.read()

    assert response.status == 200
    assert beginning.startswith(b'{"id":')
    assert (beginning + error.value.partial).count(b"\n") < 1_000
