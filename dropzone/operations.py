"""The GraphQL that is sent. What is selected of a result is what the server has of `Result`'s fields."""

from collections.abc import Collection, Sequence
from dataclasses import fields

from dropzone.model import Result, camel_case

MOST_AT_ONCE = 40
"""How many samples `states` asks for: an operation may have 350 selections."""

_PARTS = {"histogram": "histogram { edges counts }"}
_PROBLEMS = "problems { path message code }"
_SUMMARY = "results values mean standardDeviation minimum maximum"

STATISTICS = 'query { __type(name: "Result") { fields { name } } }'
PING = "query { __typename }"


def selection(known: Collection[str]) -> str:
    """Return the fields of a result that are `known` to the server."""
    names = (camel_case(field.name) for field in fields(Result))
    return " ".join(_PARTS.get(name, name) for name in names if name in known)


def sample(result: str) -> str:
    """Return the query for one sample."""
    return f"query ($id: ID!) {{ sample(id: $id) {{ {_sample(result)} }} }}"


def result(result: str) -> str:
    """Return the query for one result."""
    return f"query ($id: ID!) {{ result(id: $id) {{ {result} }} }}"


def results(result: str) -> str:
    """Return the query for a page of results."""
    return (
        "query ($filter: ResultFilter, $orderBy: ResultOrder, $first: Int, $after: String) "
        "{ page: results(filter: $filter, orderBy: $orderBy, first: $first, after: $after) "
        f"{{ edges {{ cursor node {{ {result} }} }} pageInfo {{ hasNextPage endCursor }} }} }}"
    )


def samples(result: str) -> str:
    """Return the query for a page of samples."""
    return (
        "query ($filter: SampleFilter, $first: Int, $after: String) "
        "{ page: samples(filter: $filter, first: $first, after: $after) "
        f"{{ edges {{ cursor node {{ {_sample(result)} }} }} pageInfo {{ hasNextPage endCursor }} }} }}"
    )


def states(ids: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return the query for the states of up to `MOST_AT_ONCE` samples, and its variables."""
    variables = {f"id{number}": sample_id for number, sample_id in enumerate(ids)}
    declared = ", ".join(f"${name}: ID!" for name in variables)
    asked = " ".join(f"{name}: sample(id: ${name}) {{ id state {_PROBLEMS} }}" for name in variables)
    return f"query ({declared}) {{ {asked} }}", variables


def watch(result: str) -> str:
    """Return the subscription to results."""
    return (
        "subscription ($filter: ResultFilter, $after: String) "
        f"{{ edge: results(filter: $filter, after: $after) {{ cursor node {{ {result} }} }} }}"
    )


SUMMARY = f"query ($filter: ResultFilter) {{ summary: resultsSummary(filter: $filter) {{ {_SUMMARY} }} }}"
OVER_TIME = (
    "query ($filter: ResultFilter, $bucket: TimeBucket!) "
    f"{{ buckets: resultsOverTime(filter: $filter, bucket: $bucket) {{ start {_SUMMARY} }} }}"
)


def _sample(result: str) -> str:
    return f"id state {_PROBLEMS} submittedAt timeStamp count bytes sha256 result {{ {result} }}"
