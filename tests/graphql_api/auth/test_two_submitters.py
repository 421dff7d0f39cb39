"""What one submitter has, another one cannot detect. An operator with the scope `read-all` can read it only.

The answer to an id, cursor, key or name of another submitter is the answer to one that does not exist.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx
import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from graphql_api.auth.secret_text import digest
from tests.stack import Stack, eventually

UNKNOWN_ID = "5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90"
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


@pytest.fixture(scope="module")
def owner(stack: Stack) -> Owner:
    """A submitter with samples, results, labels, a deletion, a recomputation and an API key."""
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
    return Owner(stack, key, ids, first, second, edge["cursor"])


@pytest.fixture(scope="module")
def other(stack: Stack) -> str:
    """A key of another submitter with all scopes but `read-all`."""
    return stack.new_key("other", "submit,read,admin")


@pytest.fixture(scope="module")
def operator(stack: Stack) -> dict[str, str]:
    """The headers of an operator that names the owner."""
    return {"x-api-key": stack.new_key("operators", "submit,read,admin,read-all"), "x-submitter": "owner"}


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


@pytest.mark.parametrize("name", BY_ID)
def test_an_id_of_another_submitter_is_like_one_that_does_not_exist(owner: Owner, other: str, name: str) -> None:
    """Reading, writing and subscribing respond with the same text, except for the id."""
    theirs = owner.ids[name]
    unknown = "0" * len(theirs) if name.endswith("a key") else UNKNOWN_ID
    headers = {"x-api-key": other}
    answers = [
        execute(owner.stack, headers, operation(name), {"id": each}).replace(each, "ID") for each in (theirs, unknown)
    ]

    assert answers[0] == answers[1]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_plain_http_responds_to_a_sample_of_another_submitter_as_to_none(owner: Owner, other: str, method: str) -> None:
    """Also if the client knows its entity tag."""
    etag = httpx.get(f"{owner.stack.url}/samples/{owner.first}", headers={"x-api-key": owner.key}).headers["etag"]
    headers = {"x-api-key": other, "if-none-match": etag, "x-request-id": "same"}
    answers = [
        httpx.request(method, f"{owner.stack.url}/samples/{each}", headers=headers)
        for each in (owner.first, UNKNOWN_ID)
    ]

    assert [each.status_code for each in answers] == [404, 404]
    assert answers[0].text.replace(owner.first, "ID") == answers[1].text.replace(UNKNOWN_ID, "ID")


@pytest.mark.parametrize("name", LISTS)
def test_lists_have_nothing_of_another_submitter(owner: Owner, other: str, name: str) -> None:
    """They are those of a submitter that has nothing, also after a cursor of the other one."""
    query = LISTS[name]
    variables = {"cursor": owner.cursor} if "$cursor" in query else {}
    document = f"query ($cursor: String) {query}" if variables else query
    theirs = execute(owner.stack, {"x-api-key": owner.key}, document, variables)
    ours = execute(owner.stack, {"x-api-key": other}, document, variables)
    empty = execute(owner.stack, {"x-api-key": owner.stack.new_key("empty")}, document, variables)

    assert ours == empty
    assert ours != theirs
    assert not re.search(f"{owner.first}|{owner.second}|{SITE}", ours)


@pytest.mark.parametrize("export", EXPORTS)
def test_exports_have_nothing_of_another_submitter(owner: Owner, other: str, export: str) -> None:
    """A filter by a label of the other one does not help."""
    url = f"{owner.stack.url}/results?format={export}"
    ours = httpx.get(f"{url}&label.site={SITE}", headers={"x-api-key": other})
    empty = httpx.get(url, headers={"x-api-key": owner.stack.new_key("empty")})

    assert ours.status_code == 200
    assert ours.content == empty.content


def test_an_idempotency_key_of_another_submitter_is_free(owner: Owner, other: str) -> None:
    """The same key with other content does not conflict, and gives another sample."""
    sample = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2, 3]}

    ours = owner.stack.graphql(SUBMIT, {"s": sample, "k": IDEMPOTENCY_KEY}, key=other)["submit"]

    assert ours["state"] == "PENDING"
    assert ours["id"] != owner.first
    owner.stack.graphql("mutation ($id: ID!) { deleteSamples(ids: [$id]) { id } }", {"id": ours["id"]}, key=other)


def events(stack: Stack, headers: Mapping[str, str], query: str, variables: Mapping[str, str]) -> Iterator[Any]:
    """Yield the data of the events of a subscription."""
    body = {"query": query, "variables": variables}
    headers = {**headers, "accept": "text/event-stream"}
    with httpx.stream("POST", f"{stack.url}/graphql", json=body, headers=headers, timeout=60) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if line.startswith("data: {"):
                yield json.loads(line.removeprefix("data: "))["data"]


def test_a_subscription_after_a_cursor_of_another_submitter_has_own_results_only(owner: Owner) -> None:
    """The first event is about the own sample, although the other submitter has results after the cursor."""
    key = owner.stack.new_key("subscribes", "submit,read,admin")
    own = owner.stack.submit_fixture(key=key)["id"]

    first = next(events(owner.stack, {"x-api-key": key}, WATCH, {"after": owner.cursor}))
    delete = "mutation ($id: ID!) { deleteSamples(ids: [$id]) { id } }"
    owner.stack.graphql(delete, {"id": own}, key=key)
    removal = next(events(owner.stack, {"x-api-key": key}, REMOVALS, {"after": owner.cursor}))

    assert first["results"]["node"]["id"] == own
    assert removal["removals"]["node"]["id"] == own


def test_the_keys_and_the_log_of_another_submitter_are_not_listed(owner: Owner, other: str) -> None:
    """The owner has entries about its deletion and its recomputation."""
    keys = owner.stack.graphql("{ apiKeys { digest } }", key=other)["apiKeys"]
    log = owner.stack.graphql(ENTRIES, key=other)["auditLog"]

    assert [each["digest"] for each in keys] == [digest(other)]
    assert all(each["actor"] == f"key {digest(other)[:12]}" for each in log)
    assert owner.stack.graphql(ENTRIES, key=owner.key)["auditLog"]


@pytest.mark.parametrize("name", ["sample", "result", "deleted sample", "subscription to a sample"])
def test_an_operator_reads_by_id_what_the_owner_reads(owner: Owner, operator: dict[str, str], name: str) -> None:
    """Without the header, the operator reads what its own submitter has."""
    variables = {"id": owner.ids[name]}
    expected = execute(owner.stack, {"x-api-key": owner.key}, operation(name), variables)

    assert variables["id"] in expected
    assert execute(owner.stack, operator, operation(name), variables) == expected
    assert variables["id"] not in execute(
        owner.stack, {"x-api-key": operator["x-api-key"]}, operation(name), variables
    ).replace(f"sample {variables['id']}", "")


@pytest.mark.parametrize("name", LISTS)
def test_an_operator_lists_what_the_owner_lists(owner: Owner, operator: dict[str, str], name: str) -> None:
    """With the cursors of the owner."""
    query = LISTS[name]
    document = f"query ($cursor: String) {query}" if "$cursor" in query else query
    answers = [
        execute(owner.stack, headers, document, {"cursor": owner.cursor} if "$cursor" in query else {})
        for headers in ({"x-api-key": owner.key}, operator)
    ]

    assert answers[0] == answers[1]


def test_an_operator_reads_over_every_protocol(owner: Owner, operator: dict[str, str]) -> None:
    """Samples and exports over plain HTTP, new results as an event stream and over a WebSocket."""
    stack, own = owner.stack, {"x-api-key": owner.key}
    for path in (f"/samples/{owner.first}", *(f"/results?format={export}" for export in EXPORTS)):
        assert httpx.get(stack.url + path, headers=operator).content == httpx.get(stack.url + path, headers=own).content

    after = {"after": owner.cursor}
    event = next(events(stack, operator, WATCH, after))
    assert event["results"]["node"]["id"] == owner.second

    query = {"query": WATCH, "variables": after}
    with connect(
        f"{stack.url.replace('http', 'ws')}/graphql", subprotocols=[Subprotocol("graphql-transport-ws")]
    ) as socket:
        socket.send(json.dumps({"type": "connection_init", "payload": operator}))
        assert json.loads(socket.recv())["type"] == "connection_ack"
        socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": query}))
        assert json.loads(socket.recv())["payload"]["data"] == event


@pytest.mark.parametrize("name", ["superseding", "deleting", "recomputing", "rotating a key", "revoking a key"])
def test_an_operator_changes_nothing_of_the_owner(owner: Owner, operator: dict[str, str], name: str) -> None:
    """Although its own key has all scopes."""
    answer = execute(owner.stack, operator, operation(name), {"id": owner.ids[name]})

    assert '"FORBIDDEN"' in answer
    assert "the header x-submitter names another submitter, so only reading is possible" in answer


def test_plain_http_changes_nothing_for_an_operator(owner: Owner, operator: dict[str, str]) -> None:
    """Also no session can start, because it would be one of the owner."""
    url, sample = owner.stack.url, {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}

    assert httpx.post(f"{url}/samples", json=sample, headers=operator).status_code == 403
    assert httpx.delete(f"{url}/samples/{owner.first}", headers=operator).status_code == 403
    assert httpx.post(f"{url}/session", headers=operator).status_code == 400
    assert httpx.get(f"{url}/session", headers=operator).json()["scopes"] == ["read"]
    assert httpx.get(f"{url}/samples/{owner.first}", headers={"x-api-key": owner.key}).status_code == 200


@pytest.mark.parametrize(
    ("submitters", "status"), [(["a/b"], 400), ([""], 400), (["owner", "owner"], 200), (["owner", "other"], 400)]
)
def test_a_request_names_one_submitter(
    owner: Owner, operator: dict[str, str], submitters: list[str], status: int
) -> None:
    """A name that is not valid, or two different names, read nothing."""
    headers = [("x-api-key", operator["x-api-key"]), *(("x-submitter", each) for each in submitters)]

    assert httpx.get(f"{owner.stack.url}/results", headers=headers).status_code == status


def test_the_log_of_the_owner_says_which_operator_has_read(owner: Owner, operator: dict[str, str]) -> None:
    """There is one entry per day, however much the operator reads. A refused request adds none."""
    stack, actor = owner.stack, f"key {digest(operator['x-api-key'])[:12]} of operators"
    refused = {"x-api-key": stack.new_key("curious", "submit,read,admin"), "x-submitter": "owner"}

    def readers() -> list[str]:
        log = stack.graphql(ENTRIES, key=owner.key)["auditLog"]
        return [each["actor"] for each in log if each["action"] == "submitter.read"]

    for headers in (operator, operator, refused, operator):
        httpx.get(f"{stack.url}/results", headers=headers)
    eventually(lambda: actor in readers(), lambda: stack.log)

    assert set(readers()) == {actor}
    assert len(readers()) <= 2  # two if midnight is in between
