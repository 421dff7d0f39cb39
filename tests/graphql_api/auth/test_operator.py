"""An operator with the scope `read-all` reads what another submitter has, and changes nothing of it."""

import json

import httpx
import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from graphql_api.auth.secret_text import digest
from tests.graphql_api.auth.owner import ENTRIES, EXPORTS, LISTS, WATCH, Owner, events, execute, operation
from tests.stack import Stack, eventually


@pytest.fixture(scope="module")
def operator(stack: Stack) -> dict[str, str]:
    """The headers of an operator that names the owner."""
    return {"x-api-key": stack.new_key("operators", "submit,read,admin,read-all"), "x-submitter": "owner"}


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
    assert "a request with the header x-submitter can only read" in answer


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
    """There is one entry per day, however much the operator reads. A refused request adds none to this log."""
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


def test_a_key_that_names_another_submitter_without_the_scope_is_in_the_log_of_its_own(stack: Stack) -> None:
    """At most once per key and day, however many names the client tries."""
    key = stack.new_key("tries-names", "submit,read,admin")
    for name in ("owner", "unknown", "a/b"):
        headers = {"x-api-key": key, "x-submitter": name}
        assert httpx.get(f"{stack.url}/results", headers=headers).status_code == 403

    def refused() -> list[tuple[str, str]]:
        log = stack.graphql("{ auditLog { action actor reason } }", key=key)["auditLog"]
        return [(each["actor"], each["reason"]) for each in log if each["action"] == "submitter.refused"]

    eventually(refused, lambda: stack.log)
    first = (
        f"key {digest(key)[:12]}",
        "the request names the submitter owner, but its credential does not have the scope read-all",
    )
    assert refused()[-1] == first
    assert len(refused()) <= 2  # two if midnight is in between
