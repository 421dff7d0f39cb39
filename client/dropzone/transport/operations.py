"""The GraphQL operations of the client. Queries for results request every field of `Result`."""

from collections.abc import Sequence
from dataclasses import fields

from dropzone.encoding import camel_case
from dropzone.results import Result
from dropzone.statistics import ResultOverview, Summary

MAX_SETTLED_IDS = 25
"""The maximum number of samples in one `settled` query. The server allows 350 selections per operation."""

_SUBSELECTIONS = {"histogram": "histogram { edges counts }", "labels": "labels { name value }"}


def _selection(kind: type) -> str:
    names = [camel_case(field.name) for field in fields(kind)]
    return " ".join(_SUBSELECTIONS.get(name, name) for name in names)


_RESULT = _selection(Result)
_PROBLEMS = "problems { path message code }"
_FAILED_ATTEMPTS = "failedAttempts { count problem updatedAt }"
_TIMELINE = "timeline { at event detail }"
_SAMPLE = (
    f"id state {_PROBLEMS} {_FAILED_ATTEMPTS} {_TIMELINE} "
    f"submittedAt timeStamp count bytes sha256 missingCount submittedBy expiresAt labels {{ name value }} "
    f"result {{ {_RESULT} }}"
)
_SETTLED = f"id state {_PROBLEMS} result {{ {_selection(ResultOverview)} }}"
_SUMMARY = _selection(Summary)
_PAGE_INFO = "pageInfo { hasNextPage endCursor }"

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
WATCH_REMOVALS = (
    "subscription ($after: String) "
    "{ edge: removals(after: $after) { cursor node { id removedAt supersededBy reason } } }"
)
GROUPS = (
    "query ($filter: ResultFilter, $groupBy: [String!]) { summary: resultsSummary(filter: $filter, groupBy: $groupBy) "
    f"{{ groups {{ labels {{ name value }} {_SUMMARY} }} }} }}"
)
LATEST = (
    "query ($filter: ResultFilter, $groupBy: [String!]!) "
    f"{{ results: latestResults(filter: $filter, groupBy: $groupBy) {{ {_RESULT} }} }}"
)
DELETE = (
    "mutation ($ids: [ID!], $filter: SampleFilter, $reason: String!) "
    "{ deletion: deleteSamples(ids: $ids, filter: $filter, reason: $reason) { id } }"
)
DELETED_SAMPLE = "query ($id: ID!) { deleted: deletedSample(id: $id) { deletedAt reason } }"
DELETION = "query ($id: ID!) { deletion(id: $id) { state deleted } }"
_RETENTION = "{ sampleDays resultDays hourly { days } isDefault }"
RETENTION = f"query {{ retention {_RETENTION} }}"
SET_RETENTION = (
    "mutation ($sampleDays: Int, $resultDays: Int, $hourly: HourlyRetentionInput, $useDefault: Boolean!) "
    "{ retention: setRetention(sampleDays: $sampleDays, resultDays: $resultDays, hourly: $hourly, "
    f"useDefault: $useDefault) {_RETENTION} }}"
)
SKIPS_MISSING = "query { skips: skipsMissingValues }"
SKIP_MISSING = "mutation ($on: Boolean!) { skips: skipMissingValues(on: $on) }"
LABEL_NAMES = "query { names: labelNames }"
LABEL_VALUES = "query ($name: String!) { values: labelValues(name: $name) }"
SUMMARY = f"query ($filter: ResultFilter) {{ summary: resultsSummary(filter: $filter) {{ {_SUMMARY} }} }}"
OVER_TIME = (
    "query ($filter: ResultFilter, $bucket: TimeBucket!, $groupBy: [String!]) "
    "{ buckets: resultsOverTime(filter: $filter, bucket: $bucket, groupBy: $groupBy) "
    f"{{ start labels {{ name value }} {_SUMMARY} }} }}"
)


def settled(ids: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return the query for the states of up to `MAX_SETTLED_IDS` samples, and the variables of the query."""
    variables = {f"id{number}": sample_id for number, sample_id in enumerate(ids)}
    parameters = ", ".join(f"${name}: ID!" for name in variables)
    selections = " ".join(f"{name}: sample(id: ${name}) {{ {_SETTLED} }}" for name in variables)
    return f"query ({parameters}) {{ {selections} }}", variables
