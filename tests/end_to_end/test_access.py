"""Keys, scopes and submitters restrict access."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from google.cloud.firestore import CollectionReference

from tests.stack import FIXTURE, Stack, eventually

QUERIES = [
    "{ __typename }",
    "{ __schema { types { name } } }",
    '{ sample(id: "5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90") { id } }',
    "not GraphQL",
    'mutation { submit(sample: {time_stamp: "2019-05-01T06:00:00Z", data: [1]}) { id } }',
]


@pytest.mark.parametrize("key", ["wrong", "dz_" + "A" * 43, "é", "x" * 10_000])
@pytest.mark.parametrize("query", QUERIES)
def test_without_a_valid_key_the_response_is_always_unauthenticated(stack: Stack, query: str, key: str) -> None:
    """It depends neither on the operation nor on the reason why the key is invalid."""
    response = stack.post_graphql(query, key=key.encode("latin-1"))  # type: ignore[arg-type]  # the bytes of the header

    assert response.status_code == 401
    assert [error["extensions"]["code"] for error in response.json()["errors"]] == ["UNAUTHENTICATED"]


@pytest.mark.parametrize("path", ["/samples/5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90", "/samples/no-id-at-all"])
def test_plain_http_requires_a_key(stack: Stack, path: str) -> None:
    """The response does not depend on whether the sample exists."""
    response = stack.get(path, **{"x-api-key": "wrong"})

    assert response.status_code == 401
    assert response.json()["error"]["extensions"]["code"] == "UNAUTHENTICATED"


def test_a_submitter_cannot_detect_the_sample_of_another(stack: Stack) -> None:
    """Every endpoint responds to the id of another submitter as to an unknown id."""
    other = stack.new_key("other-submitter")
    foreign, unknown = stack.submit_fixture()["id"], "5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90"

    responses = [
        (
            stack.sample(sample_id, key=other),
            stack.graphql("query ($id: ID!) { result(id: $id) { id } }", {"id": sample_id}, key=other),
            stack.get(f"/samples/{sample_id}", **{"x-api-key": other, "x-request-id": "same"}).json(),
        )
        for sample_id in (foreign, unknown)
    ]

    assert responses[0] == responses[1]
    assert responses[0][0] is None
    assert responses[0][2]["error"]["extensions"]["code"] == "NOT_FOUND"


def test_a_key_allows_only_its_scopes(stack: Stack) -> None:
    """A device that submits does not need to read."""
    submit_key, read_key = stack.new_key("scoped", "submit"), stack.new_key("scoped", "read")

    sample_id = stack.submit_fixture(key=submit_key)["id"]
    refused_reading = stack.post_graphql("{ samples { edges { node { id } } } }", key=submit_key).json()
    refused_submitting = stack.post_graphql(QUERIES[-1], key=read_key).json()

    assert stack.sample(sample_id, key=read_key)["id"] == sample_id
    for response in (refused_reading, refused_submitting):
        assert [error["extensions"]["code"] for error in response["errors"]] == ["FORBIDDEN"]


def test_an_expired_key_is_rejected(stack: Stack) -> None:
    """It is invalid from its expiry time on."""
    key = stack.new_key("expired", "submit,read", "--expires-in-days", "1e-9")  # less than a millisecond

    assert stack.post_graphql("{ __typename }", key=key).status_code == 401


def test_a_revoked_key_is_rejected(stack: Stack) -> None:
    """This takes effect when the key cache expires."""
    key = stack.new_key("revoked")
    assert stack.post_graphql("{ __typename }", key=key).status_code == 200

    stack.keys("revoke", "--submitter", "revoked", "--yes")

    eventually(lambda: stack.post_graphql("{ __typename }", key=key).status_code == 401)


@pytest.mark.parametrize("submitter", ["auth0|5f7c8ec7c33c6c004bbafe82", "x4Kt@clients", "partner.station_7-b"])
def test_a_submitter_has_the_name_that_a_provider_gives_a_user(stack: Stack, submitter: str) -> None:
    """Auth0 writes `|` between its kind of user and the user. The name is part of paths and of events."""
    key = stack.new_key(submitter)

    receipt = stack.submit({"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 3]}, key=key)

    assert stack.wait_for(receipt["id"], key=key)["result"]["mean"] == 2
    assert httpx.get(f"{stack.url}/session", headers={"x-api-key": key}).json()["submitter"] == submitter


@pytest.mark.parametrize("options", [["--submitter", "a/b"], ["--submitter", "a", "--scopes", "root"]])
def test_a_key_with_an_invalid_submitter_or_scope_is_not_created(stack: Stack, options: list[str]) -> None:
    """A submitter with a slash would select another collection in Firestore."""
    command = [sys.executable, "-m", "graphql_api.auth.keys", "create", *options]
    environment = stack.environment | stack.firestore_environment

    command_run = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)

    assert command_run.returncode == 2
    assert "expected" in command_run.stderr


async def test_a_hundred_concurrent_retries_store_one_sample_with_one_result(stack: Stack) -> None:
    """They use GraphQL, `POST /samples` and NDJSON."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2], "idempotency_key": "a hundred"}'
    headers = {"x-api-key": await anyio.to_thread.run_sync(stack.new_key, "retrying")}
    graphql = b'{"query": "mutation ($s: RawSample!) { submit(sample: $s) { id } }", "variables": {"s": %s}}' % raw
    as_json, as_lines = {"content-type": "application/json"}, {"content-type": "application/x-ndjson"}

    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as client:
        posted = [client.post("/samples", content=raw, headers=as_json) for _ in range(40)]
        queried = [client.post("/graphql", content=graphql, headers=as_json) for _ in range(40)]
        streamed = [client.post("/samples", content=b"\n".join([raw] * 20), headers=as_lines)]
        responses = await asyncio.gather(*posted, *queried, *streamed)

    ids = {response.json()["id"] for response in responses[:40]}
    ids |= {response.json()["data"]["submit"]["id"] for response in responses[40:80]}
    ids |= {json.loads(line)["id"] for line in responses[80].text.splitlines()}
    assert len(ids) == 1
    (sample_id,) = ids
    await anyio.to_thread.run_sync(
        lambda: eventually(lambda: stack.sample(sample_id, key=headers["x-api-key"])["state"] == "COMPUTED")
    )
    stored = stack.firestore().document("submitters/retrying")
    for collection in ("samples", "results"):
        assert [document.id async for document in _stream(stored.collection(collection))] == [sample_id]


async def _stream(collection: CollectionReference) -> AsyncIterator[Any]:
    for document in await anyio.to_thread.run_sync(lambda: list(collection.stream())):
        yield document


def test_a_conflict_leaves_the_chunks_of_a_large_sample_unchanged(stack: Stack) -> None:
    """A submission that is rejected as a conflict changes nothing."""
    first, second = (b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%b%d]}' % (b"0.5," * 90_000, n) for n in (1, 2))

    receipt = stack.post_sample(first, idempotency_key="large").json()
    conflict = stack.post_sample(second, idempotency_key="large")

    assert conflict.status_code == 409
    assert stack.get(f"/samples/{receipt['id']}").content == first
    assert stack.wait_for(receipt["id"])["result"]["count"] == 90_001


def test_one_conflict_among_many_samples_affects_no_other_sample(stack: Stack) -> None:
    """Its entry is null and has an error. The others have receipts. A repeated sample has its current state."""
    sample = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "idempotency_key": "one of many"}
    mutation = "mutation ($samples: [RawSample!]!) { submitMany(samples: $samples) { id state } }"

    stack.wait_for(stack.submit(sample)["id"])
    response = stack.post_graphql(mutation, {"samples": [sample, sample | {"data": [2]}, {"data": []}]}).json()

    states = [each and each["state"] for each in response["data"]["submitMany"]]
    assert states == ["COMPUTED", None, "REJECTED"]
    assert [(e["path"], e["extensions"]["code"]) for e in response["errors"]] == [(["submitMany", 1], "CONFLICT")]


def test_retries_with_one_idempotency_key_store_one_sample(stack: Stack) -> None:
    """Retries return the first receipt, other content is a conflict, and each submitter has its own keys."""
    raw, other = FIXTURE.read_bytes(), b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}'

    receipts = [stack.post_sample(raw, idempotency_key="run 7").json() for _ in range(3)]
    conflict = stack.post_sample(other, idempotency_key="run 7")
    elsewhere = stack.post_sample(other, idempotency_key="run 7", x_api_key=stack.new_key("elsewhere"))

    assert receipts[0] == receipts[1] == receipts[2]
    assert conflict.status_code == 409
    assert conflict.json()["error"]["extensions"]["code"] == "CONFLICT"
    assert elsewhere.status_code == 201
    assert elsewhere.json()["id"] != receipts[0]["id"]
