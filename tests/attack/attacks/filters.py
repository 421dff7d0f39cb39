"""Queries with filters: valid ones that select few of many stored documents, and invalid ones."""

import itertools
from functools import partial

from tests.attack.registry import add, attack
from tests.attack.target import NDJSON, Target, repeat

_SAMPLES = 20_000
_LINE = b'{"time_stamp": "%d-05-01T06:00:00Z", "data": [1.5, 2.5, 3.5], "labels": {"site": "a", "unit": "u%d"}}\n'
_LABELS = '[{name: "site", value: "a"}]'
_IDS = "{ edges { node { id } } }"
_RANGE = 'timestamp: {lt: "1970-01-01T00:00:00Z"}'

_QUERIES = {
    "state": f"{{ samples(first: 1, filter: {{state: FAILED}}) {_IDS} }}",
    "state_and_labels": f"{{ samples(first: 1, filter: {{state: FAILED, labels: {_LABELS}}}) {_IDS} }}",
    "labels_and_mean": f"{{ results(first: 1, filter: {{labels: {_LABELS}, mean: {{gt: 1e9}}}}) {_IDS} }}",
    "two_ranges": f"{{ results(first: 1, filter: {{mean: {{gt: 0}}, minimum: {{gt: 1e9}}}}) {_IDS} }}",
    "latest_in_a_range": f'{{ latestResults(groupBy: ["unit"], filter: {{{_RANGE}}}) {{ id }} }}',
}
"""Queries that select nothing, by the name of their filter."""


async def _select_nothing(text: str, target: Target) -> None:
    """Send one query over 64 connections as fast as possible, after 20,000 samples were stored."""
    lines = b"".join(_LINE % (1990 + number % 30, number % 500) for number in range(_SAMPLES))
    async with target.client(64) as client:
        await client.post("/samples", content=lines, headers={"content-type": NDJSON})
        await repeat(target, 64, lambda: client.post("/graphql", json={"query": text}))


for _name, _text in _QUERIES.items():
    add(f"query_by_{_name}", partial(_select_nothing, _text), is_short=_name == "state")


@attack()
async def unknown_members_of_a_filter(target: Target) -> None:
    """Send different documents whose filter has 620 unknown members, over 64 connections."""
    numbers = itertools.count()

    async def act() -> None:
        members = " ".join(f"m{next(numbers)}: 1" for _ in range(620))
        await client.post("/graphql", json={"query": f"{{ results(filter: {{{members}}}) {{ totalCount }} }}"})

    async with target.client(64) as client:
        await repeat(target, 64, act)


@attack()
async def labels_of_a_filter_in_variables(target: Target) -> None:
    """Send a filter with 2,400 labels as a variable, over 64 connections."""
    query = "query ($filter: ResultFilter) { results(filter: $filter) { totalCount } }"
    labels = [{"name": "site", "value": "a"}] * 2_400
    body = {"query": query, "variables": {"filter": {"labels": labels}}}

    async with target.client(64) as client:
        await repeat(target, 64, lambda: client.post("/graphql", json=body))
