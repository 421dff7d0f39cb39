"""Who may do what: keys, scopes and submitters."""

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
    "this is no GraphQL",
    'mutation { submit(sample: {time_stamp: "2019-05-01T06:00:00Z", data: [1]}) { id } }',
]


@pytest.mark.parametrize("key", ["wrong", "dz_" + "A" * 43, "é", "x" * 10_000])
@pytest.mark.parametrize("query", QUERIES)
def test_without_a_good_key_the_answer_is_always_the_same(stack: Stack, query: str, key: str) -> None:
    """Whatever is asked, and whatever is wrong with the key."""
    answer = stack.post_graphql(query, key=key.encode("latin-1"))  # type: ignore[arg-type]  # as it goes over the wire

    assert answer.status_code == 401
    assert [error["extensions"]["code"] for error in answer.json()["errors"]] == ["UNAUTHENTICATED"]


@pytest.mark.parametrize("path", ["/samples/5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90", "/samples/no-id-at-all"])
def test_plain_http_needs_a_key_too(stack: Stack, path: str) -> None:
    """The same answer whether there is something or not."""
    answer = stack.get(path, **{"x-api-key": "wrong"})

    assert answer.status_code == 401
    assert answer.json()["error"]["extensions"]["code"] == "UNAUTHENTICATED"


def test_a_submitter_cannot_see_that_anothers_sample_exists(stack: Stack) -> None:
    """Another's id and one that nobody has are answered alike, through every door."""
    other = stack.new_key("somebody-else")
    theirs, nobodys = stack.submit_fixture()["id"], "5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90"

    answers = [
        (
            stack.sample(sample_id, key=other),
            stack.graphql("query ($id: ID!) { result(id: $id) { id } }", {"id": sample_id}, key=other),
            stack.get(f"/samples/{sample_id}", **{"x-api-key": other}).json(),
        )
        for sample_id in (theirs, nobodys)
    ]

    assert answers[0] == answers[1]
    assert answers[0][0] is None
    assert answers[0][2]["error"]["extensions"]["code"] == "NOT_FOUND"


def test_a_key_does_what_its_scopes_say_and_no_more(stack: Stack) -> None:
    """A device that submits need not be able to read."""
    submits, reads = stack.new_key("scoped", "submit"), stack.new_key("scoped", "read")

    sample_id = stack.submit_fixture(key=submits)["id"]
    refused_reading = stack.post_graphql("{ samples { edges { node { id } } } }", key=submits).json()
    refused_submitting = stack.post_graphql(QUERIES[-1], key=reads).json()

    assert stack.sample(sample_id, key=reads)["id"] == sample_id
    for answer in (refused_reading, refused_submitting):
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]


def test_an_expired_key_is_no_key(stack: Stack) -> None:
    """From the moment on that it was given."""
    key = stack.new_key("expired", "submit,read", "--expires-in-days", "0")

    assert stack.post_graphql("{ __typename }", key=key).status_code == 401


def test_a_revoked_key_stops_working(stack: Stack) -> None:
    """Within the time for which keys are remembered."""
    key = stack.new_key("revoked")
    assert stack.post_graphql("{ __typename }", key=key).status_code == 200

    stack.keys("revoke", "--submitter", "revoked")

    eventually(lambda: stack.post_graphql("{ __typename }", key=key).status_code == 401)


@pytest.mark.parametrize("options", [["--submitter", "a/b"], ["--submitter", "a", "--scopes", "root"]])
def test_a_key_for_nothing_sensible_is_not_made(stack: Stack, options: list[str]) -> None:
    """A slash in a submitter would name another place in Firestore."""
    command = [sys.executable, "-m", "graphql_api.auth.keys", "create", *options]
    environment = stack.environment | stack.firestore_environment

    made = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)

    assert made.returncode == 2
    assert "expected" in made.stderr


async def test_a_hundred_retries_at_once_are_one_sample_with_one_result(stack: Stack) -> None:
    """Over both doors: one id, one document, one result."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2], "idempotency_key": "a hundred"}'
    headers = {"x-api-key": await anyio.to_thread.run_sync(stack.new_key, "retrying")}
    graphql = b'{"query": "mutation ($s: RawSample!) { submit(sample: $s) { id } }", "variables": {"s": %s}}' % raw
    as_json, as_lines = {"content-type": "application/json"}, {"content-type": "application/x-ndjson"}

    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as client:
        posted = [client.post("/samples", content=raw, headers=as_json) for _ in range(40)]
        asked = [client.post("/graphql", content=graphql, headers=as_json) for _ in range(40)]
        streamed = [client.post("/samples", content=b"\n".join([raw] * 20), headers=as_lines)]
        answers = await asyncio.gather(*posted, *asked, *streamed)

    ids = {answer.json()["id"] for answer in answers[:40]}
    ids |= {answer.json()["data"]["submit"]["id"] for answer in answers[40:80]}
    ids |= {json.loads(line)["id"] for line in answers[80].text.splitlines()}
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


def test_another_content_under_a_key_leaves_a_large_sample_as_it_is(stack: Stack) -> None:
    """Its chunks are kept apart: a refused submission changes nothing."""
    first, second = (b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%b%d]}' % (b"0.5," * 90_000, n) for n in (1, 2))

    receipt = stack.post_sample(first, idempotency_key="large").json()
    refused = stack.post_sample(second, idempotency_key="large")

    assert refused.status_code == 409
    assert stack.get(f"/samples/{receipt['id']}").content == first
    assert stack.wait_for(receipt["id"])["result"]["count"] == 90_001


def test_one_sample_of_many_that_cannot_be_stored_harms_no_other(stack: Stack) -> None:
    """Its place is null, with an error of its own; the others have their receipts."""
    sample = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "idempotency_key": "one of many"}
    mutation = "mutation ($samples: [RawSample!]!) { submitMany(samples: $samples) { id state } }"

    stack.submit(sample)
    answer = stack.post_graphql(mutation, {"samples": [sample, sample | {"data": [2]}, {"data": []}]}).json()

    states = [each and each["state"] for each in answer["data"]["submitMany"]]
    assert states == ["PENDING", None, "REJECTED"]
    assert [(e["path"], e["extensions"]["code"]) for e in answer["errors"]] == [(["submitMany", 1], "CONFLICT")]


def test_retries_of_one_idempotency_key_are_one_sample(stack: Stack) -> None:
    """The first receipt again; other content is a conflict; another submitter's key is another key."""
    raw, other = FIXTURE.read_bytes(), b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}'

    receipts = [stack.post_sample(raw, idempotency_key="run 7").json() for _ in range(3)]
    conflict = stack.post_sample(other, idempotency_key="run 7")
    elsewhere = stack.post_sample(other, idempotency_key="run 7", x_api_key=stack.new_key("elsewhere"))

    assert receipts[0] == receipts[1] == receipts[2]
    assert conflict.status_code == 409
    assert conflict.json()["error"]["extensions"]["code"] == "CONFLICT"
    assert elsewhere.status_code == 201
    assert elsewhere.json()["id"] != receipts[0]["id"]
