"""`GET /metrics` and what it counts."""

import asyncio
import json
import re
import socket
from pathlib import Path

import anyio.to_thread
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.graphql_api.schema.subscriber import watching
from tests.stack import FIXTURE, Stack, eventually, suspended

LABELS = {"route", "method", "status", "state", "code", "limit", "le", "outcome", "process", "trigger", "version"}
LABELS |= {"python_version"}
DOCUMENTS = ("docs/observability.md", "infra/embedded/README.md", "infra/embedded/firestore/README.md")
UNITS = re.compile(r"_(milliseconds|minutes|hours|kilobytes|kib|mib|megabytes)(_|$)")


def numbers(stack: Stack) -> dict[str, float]:
    """Return the value of each metric by its name and label values, sorted by label name."""
    families = text_string_to_metric_families(httpx.get(f"{stack.url}/metrics").text)
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def risen(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Return how much each metric has increased, without histogram buckets."""
    return {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if value > before.get(name, 0) and "_bucket" not in name and "_lag_" not in name
    }


def test_metrics_need_no_key_and_no_label_holds_a_value_that_a_client_chose(stack: Stack) -> None:
    """The text contains neither submitters nor sample ids."""
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


def test_the_readme_lists_every_metric_and_no_other(stack: Stack) -> None:
    """A metric without documentation fails here. Those of the embedded Firestore are listed in its folder."""
    rows = [
        row
        for document in DOCUMENTS
        for row in re.findall(
            r"^\| (`(?:dropzone|firestore|eventarc)_.*?) \|", Path(document).read_text(), re.MULTILINE
        )
    ]
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    served = set(re.findall(r"^# TYPE (\w+)", httpx.get(f"{stack.url}/metrics").text, re.MULTILINE))

    assert {name for name in served if not name.startswith("process_")} == listed


def test_names_and_texts_follow_the_rules_of_prometheus(stack: Stack) -> None:
    """The rules of `promtool check metrics`."""
    text = httpx.get(f"{stack.url}/metrics").text
    families = list(text_string_to_metric_families(text))

    names = [family.name for family in families]
    assert len(set(names)) == len(names)
    assert [family.name for family in families if not family.documentation] == []
    assert [name for name in names if UNITS.search(name) or name != name.lower()] == []
    counters = re.findall(r"^# TYPE (\w+) counter$", text, re.MULTILINE)
    others = re.findall(r"^# TYPE (\w+) (?:gauge|histogram)$", text, re.MULTILINE)
    assert [name for name in counters if not name.endswith("_total")] == []
    assert [name for name in others if name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))] == [
        "dropzone_build_info"
    ]


def test_one_place_has_the_metrics_of_the_api_the_function_and_firestore(stack: Stack) -> None:
    """A sample is counted where it is received, stored, delivered and computed."""
    before = numbers(stack)
    stack.wait_for(stack.submit_fixture()["id"])
    counted = {
        "dropzone_submit_duration_seconds_count PENDING",
        "dropzone_function_duration_seconds_count COMPUTED function",
        "eventarc_delivery_attempt_duration_seconds_count acknowledged firestore on_sample_written",
        "firestore_changes_total firestore",
        "firestore_commit_duration_seconds_count firestore",
    }
    eventually(lambda: counted <= set(risen(before, numbers(stack))), lambda: str(risen(before, numbers(stack))))

    now = numbers(stack)
    assert {name: now[name] for name in now if name.startswith("dropzone_source_up")} == {
        "dropzone_source_up firestore": 1,
        "dropzone_source_up function": 1,
    }
    assert now["firestore_writable firestore"] == 1
    assert now["firestore_disk_free_bytes firestore"] > 0
    assert now["process_resident_memory_bytes function"] > 2**20


def test_a_submission_is_counted_once_with_its_state_and_size(stack: Stack) -> None:
    """GraphQL and plain HTTP count alike."""
    raw, rejected = FIXTURE.read_bytes(), b'{"time_stamp": "2019-05-01T06:00:00Z", "data": []}'
    before = numbers(stack)

    stack.post_sample(raw)
    stack.post_sample(rejected)
    stack.submit_fixture()
    rise = risen(before, numbers(stack))

    assert rise["dropzone_submit_duration_seconds_count PENDING"] == 2
    assert rise["dropzone_submit_duration_seconds_count REJECTED"] == 1
    assert 0 < rise["dropzone_submit_duration_seconds_sum PENDING"] < 30
    assert rise["dropzone_submitted_bytes_total"] == len(raw) + len(rejected) + len(raw.strip())
    assert rise["dropzone_http_requests_total POST /samples 201"] == 1
    assert rise["dropzone_http_requests_total POST /samples 422"] == 1
    assert rise["dropzone_http_requests_total POST /graphql 200"] == 1
    assert rise["dropzone_batch_write_size_sum"] == 3
    assert 1 <= rise["dropzone_batch_write_size_count"] <= 3


def test_a_large_batch_of_samples_is_written_in_two_calls(stack: Stack) -> None:
    """Firestore commits the first while the API prepares the second. A small batch is one call.

    This holds as soon as no other submitter has written for a moment.
    """
    mutation = "mutation ($samples: [RawSample!]!) { submitMany(samples: $samples) { id } }"

    def written(count: int) -> tuple[float, float]:
        """Submit samples. Return the writes and the calls."""
        before = numbers(stack)
        stack.graphql(mutation, {"samples": [{"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}] * count})
        rise = risen(before, numbers(stack))
        return rise["dropzone_batch_write_size_sum"], rise["dropzone_batch_write_size_count"]

    eventually(lambda: [written(16), written(64)] == [(16, 1), (64, 2)])


def test_each_line_of_an_ndjson_body_is_a_submission(stack: Stack) -> None:
    """It is one request."""
    line = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}\n'
    before = numbers(stack)

    stack.post_sample(line * 20, content_type="application/x-ndjson")
    rise = risen(before, numbers(stack))

    assert rise["dropzone_submit_duration_seconds_count PENDING"] == 20
    assert rise["dropzone_http_requests_total POST /samples 200"] == 1


def test_errors_are_counted_by_the_code_that_the_client_received(stack: Stack) -> None:
    """GraphQL errors count too, although their status is 200."""
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
    assert rise["dropzone_http_requests_total POST /graphql 401"] == 1


REQUESTS = [
    ("HEAD", "/healthz", "HEAD /healthz 200"),  # the supervisor sends GET /healthz too
    ("HEAD", "/readyz", "HEAD /readyz 200"),
    ("GET", "/metrics", "GET /metrics 200"),
    ("GET", "/samples/unknown", "GET /samples/{id} 404"),
    ("HEAD", "/samples/unknown", "HEAD /samples/{id} 404"),
    ("GET", "/samples", "GET /samples 405"),
    ("GET", "/results", "GET /results 200"),
    ("GET", "/assets/unknown", "GET /assets/{path} 404"),
    ("GET", "/graphql/assets/unknown", "GET /graphql/assets/{path} 404"),
    ("POST", "/nowhere", "POST other 404"),
    ("PROPFIND", "/samples", "other /samples 405"),
]


@pytest.mark.parametrize(("method", "path", "counted_as"), REQUESTS)
def test_a_request_is_counted_and_timed_by_route_and_method(
    stack: Stack, method: str, path: str, counted_as: str
) -> None:
    """A path without a route and an unknown method count as `other`."""
    before = numbers(stack)

    httpx.request(method, stack.url + path, headers={"x-api-key": stack.key})
    rise = risen(before, numbers(stack))

    labels = counted_as.rpartition(" ")[0]
    assert rise[f"dropzone_http_requests_total {counted_as}"] == 1 + (path == "/metrics")
    assert rise[f"dropzone_http_request_duration_seconds_count {labels}"] == 1 + (path == "/metrics")
    assert rise[f"dropzone_http_request_duration_seconds_sum {labels}"] > 0


async def test_open_subscriptions_and_delivered_results_are_counted(stack: Stack) -> None:
    """A gauge falls when a subscription ends, the counter of results does not."""
    key = await anyio.to_thread.run_sync(stack.new_key, "counted")
    before = numbers(stack)

    async with watching(stack, key) as websocket:
        for number in "12":
            query = "subscription { results { node { id } } }"
            await websocket.send(json.dumps({"id": number, "type": "subscribe", "payload": {"query": query}}))
        await asyncio.to_thread(
            eventually, lambda: risen(before, numbers(stack)).get("dropzone_subscriptions") == 2, str
        )
        opened = risen(before, numbers(stack))
        await anyio.to_thread.run_sync(lambda: stack.submit_fixture(key=key))
        for _ in range(2):
            await websocket.recv()
        delivered = risen(before, numbers(stack))

    assert opened["dropzone_websocket_connections"] == 1
    assert opened["dropzone_http_requests_total GET /graphql 101"] == 1
    assert delivered["dropzone_delivered_results_total"] == 2
    await asyncio.to_thread(
        eventually, lambda: numbers(stack)["dropzone_subscriptions"] == before["dropzone_subscriptions"]
    )
    await asyncio.to_thread(
        eventually, lambda: numbers(stack)["dropzone_websocket_connections"] == before["dropzone_websocket_connections"]
    )


def test_the_lag_of_the_event_loop_is_sampled(stack: Stack) -> None:
    """Sampling does not depend on requests."""
    before = numbers(stack)["dropzone_event_loop_lag_seconds_count"]

    eventually(lambda: numbers(stack)["dropzone_event_loop_lag_seconds_count"] >= before + 4)


def test_a_hanging_firestore_shows_as_pending_writes_and_errors(own_stack: Stack) -> None:
    """The pending write is confirmed once Firestore runs again."""
    stack = own_stack
    stack.submit_fixture()
    head = f"POST /samples HTTP/1.1\r\nhost: x\r\nx-api-key: {stack.key}\r\ncontent-type: application/json\r\n"
    body = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}'
    with suspended(stack.firestore_pid()):
        with socket.create_connection(("127.0.0.1", stack.api_port)) as client:  # it does not wait for the response
            client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            eventually(lambda: numbers(stack)["dropzone_pending_writes"] == 1)

        size = numbers(stack)["dropzone_pending_write_bytes"]
        eventually(lambda: stack.get("/readyz").status_code == 503)
        failed = numbers(stack)
        assert failed["dropzone_source_up firestore"] == 0
        assert failed["dropzone_source_up function"] == 1

    assert 0 < size < 2_000
    assert failed["dropzone_firestore_errors_total DEADLINE_EXCEEDED"] >= 1
    eventually(lambda: numbers(stack)["dropzone_pending_writes"] == 0)
