"""A client that sends too much is refused in the same way over every protocol, and other clients are not."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from graphql_api.auth.api_keys import ApiKey, new_key
from graphql_api.auth.secret_text import SHOWN_DIGITS, digest
from graphql_api.configuration.limits import KeyLimits
from graphql_api.scopes import Scope
from storage.documents import document_paths
from tests.graphql_api.budgets.test_allowance import items
from tests.stack import SUBMIT, Stack, eventually

JSON = "application/json"
SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}
MANY = "mutation ($samples: [RawSample!]!) { submitMany(samples: $samples) { state } }"
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"

Send = Callable[[httpx.Client], tuple[int | None, Mapping[str, str], Any]]
"""Returns the status and the headers, if the protocol has them, and the first error."""


def limited_key(stack: Stack, submitter: str, **limits: int) -> str:
    """Return a key with limits of its own."""
    key = new_key()
    own = KeyLimits(name=digest(key)[:SHOWN_DIGITS], **limits)
    stored = ApiKey(submitter, frozenset(Scope), "", datetime.now(UTC), limits=own)
    stack.firestore().document(document_paths.api_key(digest(key))).set(stored.fields())
    return key


def error_of(response: httpx.Response) -> tuple[int | None, Mapping[str, str], Any]:
    """Return what a client sees of a response. The error is None if there is none."""
    if response.headers["content-type"].startswith("text/event-stream"):
        body = json.loads(response.text.partition("data: ")[2].partition("\n")[0])
        return None, response.headers, body["errors"][0]
    body = response.json()
    error = body["error"] if "error" in body else next(iter(body.get("errors", ())), None)
    return response.status_code, response.headers, error


def over_websocket(client: httpx.Client, query: str, variables: object = None, operations: int = 1) -> list[Any]:
    """Send operations over one WebSocket. Return their errors."""
    url = str(client.base_url).replace("http", "ws").rstrip("/") + "/graphql"
    with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
        socket.send(json.dumps({"type": "connection_init", "payload": {"x-api-key": client.headers["x-api-key"]}}))
        assert json.loads(socket.recv())["type"] == "connection_ack"
        payload = {"query": query, "variables": variables}
        for number in range(operations):
            socket.send(json.dumps({"id": str(number), "type": "subscribe", "payload": payload}))
        errors, ended = [], 0
        while ended < operations:
            message = json.loads(socket.recv())
            if message["type"] == "next":
                errors += message["payload"].get("errors", [])
            elif message["type"] == "error":
                errors += message["payload"]
            ended += message["type"] in ("error", "complete")
    return errors


SUBMITS: Mapping[str, Send] = {
    "POST /samples": lambda client: error_of(client.post("/samples", json=SAMPLE)),
    "GraphQL": lambda client: error_of(
        client.post("/graphql", json={"query": SUBMIT, "variables": {"sample": SAMPLE}})
    ),
    "event stream": lambda client: error_of(
        client.post(
            "/graphql",
            json={"query": SUBMIT, "variables": {"sample": SAMPLE}},
            headers={"accept": "text/event-stream"},
        )
    ),
    "WebSocket": lambda client: (None, {}, over_websocket(client, SUBMIT, {"sample": SAMPLE})[0]),
}


@pytest.fixture(scope="module")
def in_debt(stack: Stack) -> Iterator[httpx.Client]:
    """A client whose key may send one sample per second and has sent 600. The samples are invalid."""
    with httpx.Client(
        base_url=stack.url, headers={"x-api-key": limited_key(stack, "in-debt", samples_per_second=1)}, timeout=60
    ) as client:
        response = client.post("/graphql", json={"query": MANY, "variables": {"samples": [{}] * 600}})
        assert len(response.json()["data"]["submitMany"]) == 600
        yield client


@pytest.mark.parametrize("protocol", SUBMITS)
def test_samples_over_the_limit_are_refused(in_debt: httpx.Client, protocol: str) -> None:
    """The error says which policy is exhausted and when a retry can succeed."""
    status, headers, error = SUBMITS[protocol](in_debt)

    extensions = error["extensions"]
    assert (extensions["code"], extensions["limit"]) == ("RATE_LIMITED", "max_samples_per_second_per_submitter")
    wait = extensions["retryAfter"]
    assert 300 < wait < 600
    assert extensions["rateLimit"] == {"policy": "sample-count", "quota": 1, "window": 1, "remaining": 0, "reset": wait}
    if status is not None:
        assert (status, headers["retry-after"]) == (429, str(wait))
    if headers:
        samples = items(headers["ratelimit"].encode())["sample-count"]
        assert (samples["r"], int(samples["t"]) <= wait) == ("0", True)
        assert items(headers["ratelimit-policy"].encode())["sample-count"]["q"] == "1"


def test_reads_are_not_subject_to_the_limits_of_samples(in_debt: httpx.Client) -> None:
    """They count as requests only."""
    response = in_debt.post("/graphql", json={"query": "{ results { totalCount } }"})

    assert response.json() == {"data": {"results": {"totalCount": 0}}}
    assert items(response.headers["ratelimit"].encode())["sample-count"]["r"] == "0"


def test_an_operator_that_reads_another_submitter_uses_its_own_limits(in_debt: httpx.Client) -> None:
    """Otherwise it could exhaust those of the other one."""
    response = in_debt.get("/results", headers={"x-submitter": "without-debt"})

    assert response.status_code == 200
    assert items(response.headers["ratelimit"].encode())["sample-count"]["r"] == "0"


def test_the_other_keys_of_a_submitter_are_not_subject_to_the_limits_of_a_key(
    in_debt: httpx.Client, stack: Stack
) -> None:
    """And neither is another submitter."""
    for submitter in ("in-debt", "without-debt"):
        headers = {"x-api-key": stack.new_key(submitter)}
        assert httpx.post(f"{stack.url}/samples", json=SAMPLE, headers=headers).status_code == 201

    assert in_debt.post("/samples", json=SAMPLE).status_code == 429


def test_a_key_cannot_escape_its_limits_by_creating_or_rotating_keys(in_debt: httpx.Client, stack: Stack) -> None:
    """A new key shares what the key may send. A key without the same limits cannot be rotated."""
    unlimited = stack.new_key("in-debt", "submit")
    create = "mutation { createApiKey(scopes: [SUBMIT]) { secret apiKey { limits { samplesPerSecond } } } }"
    created = in_debt.post("/graphql", json={"query": create}).json()["data"]["createApiKey"]
    assert created["apiKey"] == {"limits": {"samplesPerSecond": 1}}
    rotate = "mutation ($digest: String!) { rotateApiKey(digest: $digest) { secret } }"

    def rotated(key: str) -> Any:
        return in_debt.post("/graphql", json={"query": rotate, "variables": {"digest": digest(key)}}).json()

    assert "expected a key with the same limits" in rotated(unlimited)["errors"][0]["message"]
    for secret in (created["secret"], rotated(created["secret"])["data"]["rotateApiKey"]["secret"]):
        refused = httpx.post(f"{stack.url}/samples", json=SAMPLE, headers={"x-api-key": secret})
        assert refused.status_code == 429


def test_a_session_has_the_limits_of_its_key(in_debt: httpx.Client, stack: Stack) -> None:
    """A session does not give a way around them."""
    cookie = in_debt.post("/session").headers["set-cookie"].partition(";")[0]

    refused = httpx.post(f"{stack.url}/samples", json=SAMPLE, headers={"cookie": cookie, "origin": stack.url})

    assert refused.status_code == 429


REQUESTS: Mapping[str, Send] = {
    "GET /samples/{id}": lambda client: error_of(client.get(f"/samples/{UNKNOWN_ID}")),
    "GET /session": lambda client: error_of(client.get("/session")),
    "GraphQL": lambda client: error_of(client.post("/graphql", json={"query": "{ missing }"})),
    "event stream": lambda client: error_of(
        client.post("/graphql", json={"query": "{ missing }"}, headers={"accept": "text/event-stream"})
    ),
}


@pytest.mark.parametrize("protocol", REQUESTS)
def test_requests_over_the_limit_are_refused(stack: Stack, protocol: str) -> None:
    """The refusal has a status even if an event stream was asked for."""
    key = limited_key(stack, "many-requests", requests_per_second=1)
    with httpx.Client(base_url=stack.url, headers={"x-api-key": key}, timeout=60) as client:

        def refusal() -> Any:
            status, headers, error = REQUESTS[protocol](client)
            return (headers, error) if status == 429 else None

        headers, error = eventually(refusal)

    assert error["extensions"]["rateLimit"]["policy"] == "requests"
    assert headers["retry-after"] == "1"
    assert items(headers["ratelimit-policy"].encode())["requests"]["q"] == "1"


def test_operations_over_a_websocket_are_requests(stack: Stack) -> None:
    """Those over the limit fail, and the WebSocket stays open."""
    key = limited_key(stack, "many-operations", requests_per_second=2)
    with httpx.Client(base_url=stack.url, headers={"x-api-key": key}) as client:
        errors = over_websocket(client, "{ __typename }", operations=100)

    assert errors
    assert {error["extensions"]["rateLimit"]["policy"] for error in errors} == {"requests"}
    assert {error["extensions"]["code"] for error in errors} == {"RATE_LIMITED"}


@pytest.mark.parametrize("path", ["/graphql?query={__typename}", "/results", f"/samples/{UNKNOWN_ID}", "/session"])
def test_every_response_to_a_valid_credential_has_the_headers_once(stack: Stack, path: str) -> None:
    """A response to an unknown credential does not have them."""
    response = stack.get(path)
    unknown = httpx.get(stack.url + path, headers={"x-api-key": new_key()})

    for name in ("ratelimit", "ratelimit-policy"):
        assert list(items(response.headers[name].encode())) == ["requests", "sample-count", "sample-bytes"]
        assert len(response.headers.get_list(name)) == 1
        assert name not in unknown.headers


def test_a_stream_waits_for_its_limits_instead_of_failing(stack: Stack) -> None:
    """All of its lines are stored."""
    key = limited_key(stack, "slow-stream", samples_per_second=1_000)
    lines = b"{}\n" * 2_500
    headers = {"x-api-key": key, "content-type": "application/x-ndjson"}

    response = httpx.post(f"{stack.url}/samples", content=lines, headers=headers, timeout=60)

    assert [json.loads(line)["state"] for line in response.text.splitlines()] == ["REJECTED"] * 2_500


def refusal(send: Callable[[], httpx.Response]) -> httpx.Response:
    """Send requests until one is refused. Return the refusal."""
    responses: list[httpx.Response] = []

    def is_refused() -> bool:
        responses.append(send())
        return responses[-1].status_code == 429

    eventually(is_refused)
    return responses[-1]


def test_samples_over_a_daily_quota_are_refused_until_midnight(stack: Stack) -> None:
    """The samples that were accepted are counted in Firestore, for other processes and the next start."""
    headers = {"x-api-key": limited_key(stack, "daily", samples_per_day=3), "content-type": JSON}

    refused = refusal(lambda: httpx.post(f"{stack.url}/samples", content=b"{}", headers=headers))

    error = refused.json()["error"]["extensions"]
    assert (error["limit"], error["rateLimit"]["quota"]) == ("max_samples_per_day_per_submitter", 3)
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    assert items(refused.headers["ratelimit"].encode())["daily-sample-count"]["r"] == "0"
    assert items(refused.headers["ratelimit-policy"].encode())["daily-sample-count"]["w"] == "86400"
    usage = stack.firestore().collection(f"submitters/daily/{document_paths.DAILY_USAGE}")
    eventually(lambda: [(each.to_dict() or {})["count"] for each in usage.stream()][-1:] == [3])


def test_a_stream_ends_at_the_daily_quota(stack: Stack) -> None:
    """It does not wait until midnight."""
    key = limited_key(stack, "daily-stream", samples_per_day=3)
    headers = {"x-api-key": key, "content-type": "application/x-ndjson"}

    response = httpx.post(f"{stack.url}/samples", content=b"{}\n" * 4, headers=headers, timeout=60)

    assert json.loads(response.text.splitlines()[-1])["error"]["extensions"]["code"] == "RATE_LIMITED"


def test_what_other_processes_have_admitted_counts_towards_a_daily_quota(stack: Stack) -> None:
    """This process learns it soon after the first sample of the key."""
    key = limited_key(stack, "shared-quota", sample_mib_per_day=1)
    today = datetime.now(UTC).date()
    for day in (today, today + timedelta(days=1)):
        path = document_paths.daily_usage("shared-quota", day, digest(key)[:SHOWN_DIGITS])
        stack.firestore().document(path).set({"count": 5, "bytes": 2**20})
    headers = {"x-api-key": key, "content-type": JSON}

    refused = refusal(lambda: httpx.post(f"{stack.url}/samples", content=b"{}", headers=headers))

    assert refused.json()["error"]["extensions"]["limit"] == "max_sample_mib_per_day_per_submitter"
