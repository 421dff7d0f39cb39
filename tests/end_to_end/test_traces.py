"""A trace follows a sample through the API, the delivery and the function, and its log lines have the same trace."""

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.otlp_receiver import ReceivedSpan, Receiver, receiving
from tests.stack import FIXTURE, Stack, eventually
from tests.stack_files import stack_file

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
    yield from run_traced(folder, file, receiver)


@pytest.fixture
def dying_stack(tmp_path: Path, receiver: Receiver) -> Iterator[Stack]:
    """A stack that exports traces, and whose function dies when its first event arrives."""
    yield from run_traced(tmp_path, stack_file(tmp_path, "tests.end_to_end.dying_function:create_app"), receiver)


def run_traced(folder: Path, file: Path, receiver: Receiver) -> Iterator[Stack]:
    """Run a stack that exports its traces."""
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "DROPZONE_LOG_FORMAT": "",
    }
    with contextlib.ExitStack() as exits:
        stack = exits.push(Stack(folder, **settings))
        stack.start("--stack", str(file))
        yield stack


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


def test_a_repeated_event_is_computed_twice_in_one_trace(stack: Stack, receiver: Receiver) -> None:
    """The first acknowledgement was lost, so both attempts reach the function. The failed attempt says why."""
    trace_ids: list[str] = []

    def find_repeated() -> list[str]:
        trace_ids.append(submit(stack, 1_000 + len(trace_ids)))
        return [each for each in trace_ids if len(attempts(receiver, each)) >= 2]

    repeated = eventually(find_repeated, lambda: str(receiver.trace_ids()))[0]
    *failed, acknowledged = finished_attempts(receiver, repeated)
    computed = computations(receiver, repeated, len(failed) + 1)

    assert all(span.is_error for span in failed)
    assert {span.parent_id for span in computed} == {span.span_id for span in (*failed, acknowledged)}


def test_an_event_that_does_not_arrive_is_computed_once_in_the_same_trace(
    dying_stack: Stack, receiver: Receiver
) -> None:
    """The function died before it saw the event. The attempt that arrives is the parent of the computation."""
    trace_id = submit(dying_stack, 400)

    *lost, arrived = finished_attempts(receiver, trace_id)
    (computed,) = computations(receiver, trace_id, 1)

    assert lost
    assert all(span.is_error for span in lost)
    assert computed.parent_id == arrived.span_id


def attempts(receiver: Receiver, trace_id: str) -> list[ReceivedSpan]:
    """Return the attempts to deliver the event of a trace, in order. All of them are children of the request."""
    spans = receiver.spans(trace_id)
    found = [span for span in spans if span.name == "deliver on_sample_written"]
    found.sort(key=lambda span: int(span.attributes["messaging.delivery.attempt"]))
    requests = {span.span_id for span in spans if span.name == "POST /samples"}
    assert not requests or {span.parent_id for span in found} <= requests
    return found


def finished_attempts(receiver: Receiver, trace_id: str) -> list[ReceivedSpan]:
    """Return the attempts to deliver the event of a trace, in order, when the last one was acknowledged."""

    def finished() -> list[ReceivedSpan]:
        found = attempts(receiver, trace_id)
        return [] if found and found[-1].is_error else found

    return eventually(finished, lambda: str(receiver.spans(trace_id)))


def computations(receiver: Receiver, trace_id: str, count: int) -> list[ReceivedSpan]:
    """Wait for `count` computations of a sample. All are linked to its request, and none is in another trace."""
    (request,) = trace(receiver, trace_id, "POST /samples")["POST /samples"]

    def linked() -> list[ReceivedSpan]:
        everything = [span for each in receiver.trace_ids() for span in receiver.spans(each)]
        return [span for span in everything if span.name == "compute" and request.span_id in span.links]

    eventually(lambda: len(linked()) >= count, lambda: str(receiver.spans(trace_id)))
    found = linked()
    assert len(found) == count
    assert {span.trace_id for span in found} == {trace_id}
    return found


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
        eventually(lambda: "\ndropzone_subscriptions 1.0\n" in stack.get("/metrics").text)  # it has started
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


def test_processes_that_stop_export_their_last_spans(tmp_path: Path, receiver: Receiver) -> None:
    """A rolling update stops each process. The spans of its last seconds are not lost."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "600000"}  # ten minutes
    acknowledged = re.compile(
        r'^eventarc_delivery_attempt_duration_seconds_count{outcome="acknowledged".* 1\.0$', re.MULTILINE
    )
    with Stack(tmp_path, **settings) as stack:
        trace_id = submit(stack, 500)
        eventually(lambda: acknowledged.search(stack.get("/metrics").text), lambda: stack.get("/metrics").text)
        assert receiver.spans(trace_id) == []

        os.kill(stack.api_pid(), signal.SIGTERM)
        trace(receiver, trace_id, "POST /samples", "commit", WRITE)
        os.kill(stack.function_pid(), signal.SIGTERM)
        trace(receiver, trace_id, "compute")
        os.kill(stack.firestore_pid(), signal.SIGTERM)
        trace(receiver, trace_id, "deliver on_sample_written")
