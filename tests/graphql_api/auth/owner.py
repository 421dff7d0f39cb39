"""A submitter that has something of everything, and the operations that can read or change it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx

from graphql_api.auth.secret_text import digest
from tests.stack import Stack

SITE = "a-site-of-the-owner"
IDEMPOTENCY_KEY = "a key of the owner"
SUBMIT = "mutation ($s: RawSample!, $k: String) { submit(sample: $s, idempotencyKey: $k) { id state } }"
WATCH = "subscription ($after: String) { results(after: $after) { node { id } } }"
REMOVALS = "subscription ($after: String) { removals(after: $after) { node { id } } }"
ENTRIES = "{ auditLog { actor action details } }"

BY_ID = {
    "sample": "{ sample(id: $id) { id state result { id } timeline { event } } }",
    "result": "{ result(id: $id) { id mean sample { id } } }",
    "deleted sample": "{ deletedSample(id: $id) { id reason } }",
    "subscription to a sample": "{ sample(id: $id) { id state } }",
    "superseding": '{ submit(sample: {time_stamp: "2019-05-01T06:00:00Z", data: [1]}, supersedes: $id) { state } }',
    "deletion": "{ deletion(id: $id) { id state } }",
    "recomputation": "{ recomputation(id: $id) { id state } }",
    "subscription to a recomputation": "{ recomputation(id: $id) { id state } }",
    "deleting": "{ deleteSamples(ids: [$id]) { deleted reason } }",
    "recomputing": "{ recompute(ids: [$id]) { requested done } }",
    "rotating a key": "{ rotateApiKey(digest: $id) { secret } }",
    "revoking a key": "{ revokeApiKey(digest: $id) { label } }",
}
"""An operation that needs an id, by what it does."""

LISTS = {
    "results": "{ results(first: 50) { totalCount edges { cursor node { id labels { value } } } } }",
    "samples": "{ samples(first: 50) { totalCount edges { node { id } } } }",
    "a page after a cursor": "{ results(after: $cursor, orderBy: {field: COMPUTED_AT}) { edges { node { id } } } }",
    "a page before a cursor": (
        "{ results(last: 9, before: $cursor, orderBy: {field: COMPUTED_AT}) { pageInfo { hasNextPage } } }"
    ),
    "samples with a label": f'{{ samples(filter: {{labels: [{{name: "site", value: "{SITE}"}}]}}) {{ totalCount }} }}',
    "summary": '{ resultsSummary(groupBy: ["site"]) { results values groups { labels { value } } } }',
    "results over time": '{ resultsOverTime(bucket: DAY, groupBy: ["site"]) { results start } }',
    "latest results": '{ latestResults(groupBy: ["site"]) { id } }',
    "names of labels": "{ labelNames }",
    "values of a label": '{ labelValues(name: "site") }',
}
"""A query whose answer has nothing of another submitter, by what it lists."""

EXPORTS = ("ndjson", "csv", "arrow", "parquet")


class Owner(NamedTuple):
    """A submitter that has something of everything."""

    stack: Stack
    key: str
    ids: Mapping[str, str]
    """The id that an operation of `BY_ID` needs."""
    first: str
    second: str
    """Samples with results, in the order in which they were computed."""
    cursor: str
    """The cursor of the first result."""

    @classmethod
    def create(cls, stack: Stack) -> "Owner":
        """Return a submitter with samples, results, labels, a deletion, a recomputation and an API key."""
        key = stack.new_key("owner", "submit,read,admin")
        samples = []
        for number, idempotency_key in ((1, IDEMPOTENCY_KEY), (2, None), (3, None)):
            sample = {"time_stamp": "2019-05-01T06:00:00Z", "data": [number], "labels": {"site": SITE}}
            samples.append(stack.graphql(SUBMIT, {"s": sample, "k": idempotency_key}, key=key)["submit"]["id"])
            stack.wait_for(samples[-1], key=key)
        first, second, deleted = samples
        mutation = "mutation ($id: ID!) { deleteSamples(ids: [$id]) { id } recompute(ids: [$id]) { id } }"
        recorded = stack.graphql(mutation, {"id": deleted}, key=key)
        oldest = "{ results(first: 1, orderBy: {field: COMPUTED_AT}) { edges { cursor } } }"
        [edge] = stack.graphql(oldest, key=key)["results"]["edges"]
        ids = dict.fromkeys(BY_ID, first) | {
            "deleted sample": deleted,
            "deletion": recorded["deleteSamples"]["id"],
            "recomputation": recorded["recompute"]["id"],
            "subscription to a recomputation": recorded["recompute"]["id"],
            "rotating a key": digest(key),
            "revoking a key": digest(key),
        }
        return cls(stack, key, ids, first, second, edge["cursor"])


def operation(name: str) -> str:
    """Return the operation of `BY_ID`."""
    kind = {"s": "subscription", "d": "mutation"}
    is_mutation = name in ("superseding", "deleting", "recomputing", "rotating a key", "revoking a key")
    is_subscription = name.startswith("subscription")
    type_name = "String!" if name.endswith("a key") else "ID!"
    return f"{kind['d'] if is_mutation else kind['s'] if is_subscription else 'query'} ($id: {type_name}) {BY_ID[name]}"


def execute(stack: Stack, headers: Mapping[str, str], query: str, variables: Mapping[str, str] | None = None) -> str:
    """Return the status and the body of the response to an operation. A subscription is an event stream."""
    accept = "text/event-stream" if query.startswith("subscription") else "application/json"
    response = httpx.post(
        f"{stack.url}/graphql",
        json={"query": query, "variables": variables},
        headers={**headers, "accept": accept, "x-request-id": "same"},
        timeout=60,
    )
    return f"{response.status_code} {response.text}"


def events(stack: Stack, headers: Mapping[str, str], query: str, variables: Mapping[str, str]) -> Iterator[Any]:
    """Yield the data of the events of a subscription."""
    body = {"query": query, "variables": variables}
    headers = {**headers, "accept": "text/event-stream"}
    with httpx.stream("POST", f"{stack.url}/graphql", json=body, headers=headers, timeout=60) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if line.startswith("data: {"):
                yield json.loads(line.removeprefix("data: "))["data"]
