"""What operators see at `/metrics`."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import anyio.to_thread
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from tests.stack import FIXTURE, Stack, eventually

LABELS = {"door", "status", "state", "code", "le"}


def numbers(stack: Stack) -> dict[str, float]:
    """Return each number there is by its name and labels, in the order of their names."""
    families = text_string_to_metric_families(httpx.get(f"{stack.url}/metrics").text)
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def risen(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Return by how much numbers are higher now, without the buckets of histograms."""
    return {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if value > before.get(name, 0) and "_bucket" not in name and "_lag_" not in name
    }


def test_no_key_is_needed_and_no_label_holds_what_a_client_chose(stack: Stack) -> None:
    """The text names neither submitters nor samples."""
    sample_id = stack.submit_fixture()["id"]
    stack.get(f"/samples/{sample_id}")

    answer = httpx.get(f"{stack.url}/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert sample_id not in answer.text
    assert '"local"' not in answer.text
    labels = {
        name for family in text_string_to_metric_families(answer.text) for s in family.samples for name in s.labels
    }
    assert labels <= LABELS


def test_every_number_is_in_the_readme(stack: Stack) -> None:
    """And the other way round."""
    rows = re.findall(r"^\| (`dropzone_.*?) \|", Path("README.md").read_text(), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    said = set(re.findall(r"^# TYPE (\w+)", httpx.get(f"{stack.url}/metrics").text, re.MULTILINE))

    assert {name for name in said if name.startswith("dropzone_")} == listed


def test_a_submission_is_counted_once_with_its_state_and_size(stack: Stack) -> None:
    """Through either door."""
    raw, rejected = FIXTURE.read_bytes(), b'{"time_stamp": "2019-05-01T06:00:00Z", "data": []}'
    before = numbers(stack)

    stack.post_sample(raw)
    stack.post_sample(rejected)
    stack.submit_fixture()
    rise = risen(before, numbers(stack))

    assert rise["dropzone_submit_seconds_count PENDING"] == 2
    assert rise["dropzone_submit_seconds_count REJECTED"] == 1
    assert 0 < rise["dropzone_submit_seconds_sum PENDING"] < 30
    assert rise["dropzone_submitted_bytes_total"] == len(raw) + len(rejected) + len(raw.strip())
    assert rise["dropzone_http_requests_total /samples 201"] == 1
    assert rise["dropzone_http_requests_total /samples 422"] == 1
    assert rise["dropzone_http_requests_total /graphql 200"] == 1
    assert rise["dropzone_batch_writes_sum"] == 3
    assert 1 <= rise["dropzone_batch_writes_count"] <= 3


def test_much_that_comes_together_is_shared_among_calls(stack: Stack) -> None:
    """So that Firestore is at work on one while the next is prepared; a few are not worth it."""
    mutation = "mutation ($samples: [RawSample!]!) { submitMany(samples: $samples) { id } }"
    calls = []
    for count in (16, 64):
        before = numbers(stack)
        stack.graphql(mutation, {"samples": [{"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}] * count})
        rise = risen(before, numbers(stack))
        assert rise["dropzone_batch_writes_sum"] == count
        calls.append(rise["dropzone_batch_writes_count"])

    assert calls == [1, 2]


def test_each_line_of_a_stream_is_a_submission(stack: Stack) -> None:
    """The request is one."""
    line = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}\n'
    before = numbers(stack)

    stack.post_sample(line * 20, content_type="application/x-ndjson")
    rise = risen(before, numbers(stack))

    assert rise["dropzone_submit_seconds_count PENDING"] == 20
    assert rise["dropzone_http_requests_total /samples 200"] == 1


def test_errors_are_counted_by_the_code_that_the_client_was_told(stack: Stack) -> None:
    """In GraphQL too, where the status is 200."""
    before = numbers(stack)

    httpx.post(f"{stack.url}/graphql", json={"query": "{ __typename }"})
    stack.post_graphql("{ nothing }")
    stack.post_graphql("{ results(first: 5000) { edges { cursor } } }")
    stack.get("/samples/unknown")
    httpx.get(f"{stack.url}/nowhere")
    rise = risen(before, numbers(stack))

    assert {name.split()[1]: count for name, count in rise.items() if name.startswith("dropzone_errors")} == {
        "UNAUTHENTICATED": 1,
        "GRAPHQL_VALIDATION_FAILED": 1,
        "BAD_REQUEST": 1,
        "NOT_FOUND": 2,
    }
    assert rise["dropzone_http_requests_total /graphql 401"] == 1
    assert rise["dropzone_http_requests_total other 404"] == 1


async def test_subscribers_and_what_they_get_are_counted(stack: Stack) -> None:
    """Open ones while they are open, results for good."""
    key = await anyio.to_thread.run_sync(stack.new_key, "counted")
    before = numbers(stack)

    uri = stack.url.replace("http", "ws") + "/graphql"
    async with connect(uri, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "connection_init", "payload": {"x-api-key": key}}))
        for number in "12":
            query = "subscription { results { node { id } } }"
            await socket.send(json.dumps({"id": number, "type": "subscribe", "payload": {"query": query}}))
        await asyncio.to_thread(
            eventually, lambda: risen(before, numbers(stack)).get("dropzone_subscriptions") == 2, str
        )
        opened = risen(before, numbers(stack))
        await anyio.to_thread.run_sync(lambda: stack.submit_fixture(key=key))
        for _ in range(3):
            await socket.recv()
        delivered = risen(before, numbers(stack))

    assert opened["dropzone_websocket_connections"] == 1
    assert opened["dropzone_http_requests_total /graphql 101"] == 1
    assert delivered["dropzone_delivered_results_total"] == 2
    await asyncio.to_thread(
        eventually, lambda: numbers(stack)["dropzone_subscriptions"] == before["dropzone_subscriptions"]
    )
    await asyncio.to_thread(
        eventually, lambda: numbers(stack)["dropzone_websocket_connections"] == before["dropzone_websocket_connections"]
    )


def test_the_event_loop_is_timed(stack: Stack) -> None:
    """Four times a second, whatever else happens."""
    before = numbers(stack)["dropzone_event_loop_lag_seconds_count"]

    eventually(lambda: numbers(stack)["dropzone_event_loop_lag_seconds_count"] >= before + 4)


def test_a_firestore_that_hangs_shows(own_stack: Stack) -> None:
    """As a write that waits, and as calls that failed."""
    stack = own_stack
    stack.submit_fixture()
    firestore = stack.firestore_pid()
    os.kill(firestore, signal.SIGSTOP)
    with httpx.Client(headers={"x-api-key": stack.key}) as client, pytest.raises(httpx.ReadTimeout):
        client.post(f"{stack.url}/samples", json={"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}, timeout=0.1)

    eventually(lambda: numbers(stack)["dropzone_pending_writes"] == 1)
    size = numbers(stack)["dropzone_pending_write_bytes"]
    eventually(lambda: stack.get("/readyz").status_code == 503)
    failed = numbers(stack)
    os.kill(firestore, signal.SIGCONT)

    assert 0 < size < 2_000
    assert failed["dropzone_firestore_errors_total DEADLINE_EXCEEDED"] >= 1
    eventually(lambda: numbers(stack)["dropzone_pending_writes"] == 0)
