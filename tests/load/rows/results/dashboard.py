"""The first load of the dashboard: its operations, read from its files, over as many connections as a browser opens.

A browser sends some of them only after the response to others. Here all are sent together, which is harder for the API.
The first page of FAILED samples is read here. The dashboard reads up to ten pages until it has found enough of them.
The query for the values of labels is not in a file, and the subscriptions have no last response. These are left out.
"""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tests.graphql_api.web.operations import operations
from tests.load.http_client import Connection
from tests.load.plan import Plan, repeat
from tests.load.table import Figure, Goal, Row

CONNECTIONS = 6
MAX_SECONDS = 1.0
_NEWEST_FIRST = {"field": "COMPUTED_AT", "direction": "DESC"}
FIRST_LOAD: dict[str, list[dict[str, Any]]] = {
    "start": [{}],
    "states": [{}],
    "labels": [{}],
    "results": [{"filter": {}, "orderBy": _NEWEST_FIRST, "first": 300, "after": None}],
    "failed": [{}],
    "delays": [{"filter": {}, "orderBy": _NEWEST_FIRST}],
    "samples": [{"filter": {"state": state}, "first": 20, "after": None} for state in ("FAILED", "REJECTED")],
    "extremes": [{"filter": {}}],
    "overtime": [{"bucket": "DAY", "filter": {}, "groupBy": []}],
    "units": [{"filter": {}, "groupBy": ["unit"]}],
    "summary": [{"filter": {}, "groupBy": [], "isGrouped": False}],
    "sample": [{"id": ""}],
}
"""The variables of each request, by operation, in the order of the requests. The newest sample is displayed."""
LATER = {"deleted", "total", "removals", "watch"}
"""The operations that the dashboard sends after an event or an input, and the subscriptions."""


class _Load(NamedTuple):
    """The seconds until the last response, and the operation whose response took longest."""

    seconds: float
    slowest: str


def first_load(plan: Plan, port: int, headers: Mapping[str, str], count: int) -> Iterator[Row]:
    """Measure the seconds until the last response. A response with an error fails the row."""
    load = repeat(plan, lambda: asyncio.run(_load(port, headers)), by=lambda each: each.seconds)
    figure = Figure(load.seconds * 1000, "ms", f"longest: {load.slowest}", more_is_better=False)
    goal = Goal("under 1 s, nothing refused", load.seconds < MAX_SECONDS)
    yield Row(f"first load of the dashboard of {count:,} results, {CONNECTIONS} connections", figure, goals=[goal])


async def _load(port: int, headers: Mapping[str, str]) -> _Load:
    texts = operations()
    connections = [await Connection.open(port, headers) for _ in range(CONNECTIONS)]
    newest = await connections[0].graphql(_body(texts["results"], {"orderBy": _NEWEST_FIRST, "first": 1}))
    (edge,) = newest["results"]["edges"]
    requests = [
        (name, _body(texts[name], variables | {"id": edge["node"]["id"]} if name == "sample" else variables))
        for name, each in FIRST_LOAD.items()
        for variables in each
    ]
    started = time.perf_counter()
    waiting = iter(requests)
    times = await asyncio.gather(*(_send(connection, waiting) for connection in connections))
    seconds = time.perf_counter() - started
    for connection in connections:
        await connection.close()
    longest, slowest = max(each for measured in times for each in measured)
    return _Load(seconds, f"{slowest}, {longest * 1000:.3g} ms")


async def _send(connection: Connection, waiting: Iterator[tuple[str, bytes]]) -> Sequence[tuple[float, str]]:
    """Send the next waiting request after each response. Return the times and names of those sent."""
    times = []
    for name, body in waiting:
        started = time.perf_counter()
        await connection.graphql(body)
        times.append((time.perf_counter() - started, name))
    return times


def _body(query: str, variables: Mapping[str, object]) -> bytes:
    return json.dumps({"query": query, "variables": variables}).encode()
