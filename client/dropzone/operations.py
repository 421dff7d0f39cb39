"""The GraphQL that is sent: of results everything that `Result` has."""

from collections.abc import Sequence
from dataclasses import fields

from dropzone.model import Result, camel_case

MAX_CONCURRENT = 40
"""How many samples `states` asks for: an operation may have 350 selections."""

_PARTS = {"histogram": "histogram { edges counts }"}
_RESULT = " ".join(_PARTS.get(name, name) for name in (camel_case(field.name) for field in fields(Result)))
_PROBLEMS = "problems { path message code }"
_SAMPLE = f"id state {_PROBLEMS} submittedAt timeStamp count bytes sha256 result {{ {_RESULT} }}"
_PAGE_INFO = "pageInfo { hasNextPage endCursor }"
_SUMMARY = "results values mean standardDeviation minimum maximum"

PING = "query { __typename }"
SAMPLE = f"query ($id: ID!) {{ sample(id: $id) {{ {_SAMPLE} }} }}"
RESULT = f"query ($id: ID!) {{ result(id: $id) {{ {_RESULT} }} }}"
RESULTS = (
    "query ($filter: ResultFilter, $orderBy: ResultOrder, $first: Int, $after: String) "
    "{ page: results(filter: $filter, orderBy: $orderBy, first: $first, after: $after) "
    f"{{ edges {{ cursor node {{ {_RESULT} }} }} {_PAGE_INFO} }} }}"
)
SAMPLES = (
    "query ($filter: SampleFilter, $first: Int, $after: String) "
    "{ page: samples(filter: $filter, first: $first, after: $after) "
    f"{{ edges {{ cursor node {{ {_SAMPLE} }} }} {_PAGE_INFO} }} }}"
)
NEWEST = (
    "query { page: results(orderBy: { field: COMPUTED_AT, direction: DESC }, first: 500) "
    "{ edges { cursor node { id computedAt } } } }"
)
WATCH = (
    "subscription ($filter: ResultFilter, $after: String) "
    f"{{ edge: results(filter: $filter, after: $after) {{ cursor node {{ {_RESULT} }} }} }}"
)
SUMMARY = f"query ($filter: ResultFilter) {{ summary: resultsSummary(filter: $filter) {{ {_SUMMARY} }} }}"
OVER_TIME = (
    "query ($filter: ResultFilter, $bucket: TimeBucket!) "
    f"{{ buckets: resultsOverTime(filter: $filter, bucket: $bucket) {{ start {_SUMMARY} }} }}"
)


def states(ids: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return the query for the states of up to `MAX_CONCURRENT` samples, and its variables."""
    variables = {f"id{number}": sample_id for number, sample_id in enumerate(ids)}
    declared = ", ".join(f"${name}: ID!" for name in variables)
    asked = " ".join(f"{name}: sample(id: ${name}) {{ id state {_PROBLEMS} }}" for name in variables)
    return f"query ({declared}) {{ {asked} }}", variables
