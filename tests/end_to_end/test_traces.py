"""A trace follows a sample through the API, the delivery and the function, and its log lines have the same trace."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.otlp_receiver import ReceivedSpan, Receiver, receiving
from tests.stack import FIXTURE, Stack, eventually

FAULTS = "\n[triggers.fault_injection]\nseed = 1\ndrop_acknowledgement_probability = 0.5\n\n[greeting]"
"""Half of the events are delivered, but sent again."""

WRITE = "BatchWrite samples"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A collector."""
    with receiving() as started:
        yield started


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Stack]:
    """A stack that exports traces, loses acknowledgements, and logs in its default format."""
    folder = tmp_path_factory.mktemp("traces")
    file = folder / "stack.toml"
    file.write_text(Path("infra/embedded/stack.toml").read_text().replace("\n[greeting]", FAULTS, 1))
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "DROPZONE_LOG_FORMAT": "",
    }
    stack = Stack(folder, **settings)
    stack.start("--stack", str(file))
    yield stack
    stack.__exit__(None, None, None)


def trace(receiver: Receiver, trace_id: str, *names: str) -> dict[str, list[ReceivedSpan]]:
    """Wait until a trace has spans with all `names`; return the spans by name."""

    def by_name() -> dict[str, list[ReceivedSpan]]:
        found: dict[str, list[ReceivedSpan]] = {}
        for span in receiver.spans(trace_id):
            found.setdefault(span.name, []).append(span)
        return found

    eventually(lambda: set(names) <= set(by_name()), lambda: f"{names} in {by_name()}")
    return by_name()


def submit(stack: Stack, number: int) -> str:
    """Submit a sample as a part of a trace of the client; return the id of the trace."""
    trace_id = f"{number:032x}"
    response = stack.post_sample(FIXTURE.read_bytes(), traceparent=f"00-{trace_id}-00f067aa0ba902b7-01")
    assert response.status_code == 201
    return trace_id


def test_one_trace_has_the_spans_of_all_processes(stack: Stack, receiver: Receiver) -> None:
    """Each span is a child of the step before it, and the function is linked to the request that stored the sample."""
    trace_id = submit(stack, 1)

    spans = trace(receiver, trace_id, "POST /samples", "commit", WRITE, "deliver on_sample_written", "compute")
    (received,), deliveries = spans["POST /samples"], spans["deliver on_sample_written"]
    (batch,) = spans[WRITE]
    (stored,) = (span for span in spans["commit"] if span.span_id == batch.parent_id)
    computed = spans["compute"][0]

    assert received.parent_id == "00f067aa0ba902b7"
    assert received.attributes == {
        "http.request.method": "POST",
        "http.route": "/samples",
        "http.response.status_code": "201",
    }
    assert stored.parent_id == received.span_id
    assert batch.span_id in stored.links
    assert batch.attributes == {
        "db.system.name": "gcp.firestore",
        "db.namespace": "projects/dropzone-local/databases/(default)",
        "db.operation.name": "BatchWrite",
        "db.collection.name": "samples",
        "server.address": batch.attributes["server.address"],
    }
    assert batch.attributes["server.address"].endswith("/firestore")
    assert {span.parent_id for span in deliveries} == {received.span_id}
    assert computed.parent_id in {span.span_id for span in deliveries}
    assert received.span_id in computed.links
    assert {span.service for each in spans.values() for span in each} == {
        "dropzone-api",
        "firestore",
        "dropzone-function",
    }


def test_a_query_has_the_spans_of_its_reads(stack: Stack, receiver: Receiver) -> None:
    """Each read is a child of the request."""
    trace_id = f"{2:032x}"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    assert stack.get("/graphql?query={samples(first:1){totalCount}}", **headers).status_code == 200

    spans = trace(receiver, trace_id, "GET /graphql", "RunAggregationQuery samples")

    assert {span.parent_id for span in spans["RunAggregationQuery samples"]} == {spans["GET /graphql"][0].span_id}


def test_each_attempt_to_deliver_is_a_span_of_the_trace(stack: Stack, receiver: Receiver) -> None:
    """Also after an acknowledgement was lost. The failed attempt says why."""
    trace_ids = [submit(stack, number) for number in range(100, 110)]

    def repeated() -> list[list[ReceivedSpan]]:
        by_trace = [
            [span for span in receiver.spans(trace_id) if span.name.startswith("deliver ")] for trace_id in trace_ids
        ]
        return [spans for spans in by_trace if len(spans) >= 2 and not spans[-1].is_error]

    attempts = eventually(repeated, lambda: str(receiver.trace_ids()))[0]

    numbers = [span.attributes["messaging.delivery.attempt"] for span in attempts]
    assert numbers[:2] == ["1", "2"]
    assert attempts[0].is_error


def test_a_request_without_a_trace_starts_one(stack: Stack, receiver: Receiver) -> None:
    """An unsampled trace of the client is not recorded."""
    known = receiver.trace_ids()
    stack.post_sample(FIXTURE.read_bytes(), traceparent=f"00-{'e' * 32}-00f067aa0ba902b7-00")
    stack.post_sample(FIXTURE.read_bytes())

    eventually(lambda: receiver.trace_ids() - known)
    assert "e" * 32 not in receiver.trace_ids()


def test_a_result_that_reaches_subscribers_is_a_span_of_the_trace(stack: Stack, receiver: Receiver) -> None:
    """Fan-out is the last step."""
    headers = {"x-api-key": stack.key, "accept": "text/event-stream"}
    body = {"query": "subscription { results { node { id } } }"}
    with stack.stream("POST", "/graphql", json=body, headers=headers) as response:
        assert response.status_code == 200
        trace_id = submit(stack, 200)
        spans = trace(receiver, trace_id, "compute", "fan out")

    assert spans["fan out"][0].parent_id in {span.span_id for span in spans["compute"]}


def test_the_log_is_json_and_its_lines_have_the_trace(stack: Stack, receiver: Receiver) -> None:
    """Cloud Logging shows the lines of a trace together. The output of this stack is not a terminal."""
    trace_id = submit(stack, 300)
    (received,) = trace(receiver, trace_id, "POST /samples")["POST /samples"]
    eventually(lambda: trace_id in stack.log)

    entries = [json.loads(line) for line in stack.log.splitlines()]
    (entry,) = [entry for entry in entries if trace_id in entry.get("logging.googleapis.com/trace", "")]

    assert entry["logging.googleapis.com/trace"] == f"projects/dropzone-local/traces/{trace_id}"
    assert entry["logging.googleapis.com/spanId"] == received.span_id
    assert entry["httpRequest"]["requestUrl"] == "/samples"
    assert entry["submitter"] == "local"
    assert {entry["severity"] for entry in entries} <= {"INFO", "WARNING"}
    processes = {entry.get("logging.googleapis.com/labels", {}).get("process") for entry in entries}
    assert {"stack", "firestore", "api"} <= processes
    assert stack.key not in stack.log
