"""Samples that the server could not store are counted by their code, over every protocol."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.stack import SUBMIT, Stack, eventually

SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}
NDJSON = "application/x-ndjson"


@pytest.fixture
def full_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack whose Firestore refuses writes."""
    with Stack(tmp_path, DROPZONE_WRITE_TIMEOUT_SECONDS="2") as stack:
        stack.refuse_firestore_writes()
        eventually(lambda: stack.post_sample(json.dumps(SAMPLE | {"data": [1] * 20_000}).encode()).status_code == 503)
        yield stack


def failed_samples(stack: Stack) -> dict[str, int]:
    """Return the counter by code."""
    text = httpx.get(f"{stack.url}/metrics").text
    values = re.findall(r'^dropzone_failed_samples_total{code="(\w+)"} (\S+)$', text, re.MULTILINE)
    return {code: int(float(value)) for code, value in values}


def submit_over_a_websocket(stack: Stack) -> str:
    """Submit a sample. Return the message with the response."""
    variables = {"sample": SAMPLE, "key": None}
    with connect(stack.url.replace("http", "ws") + "/graphql", subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        socket.send(json.dumps({"type": "connection_init", "payload": {"x-api-key": stack.key}}))
        assert json.loads(socket.recv())["type"] == "connection_ack"
        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": SUBMIT, "variables": variables}}))
        return str(socket.recv())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can limit the files of a running process")
def test_a_refused_line_of_a_response_with_status_200_counts_as_a_failed_sample(full_stack: Stack) -> None:
    """No response of these protocols has the status 5xx, so only this counter shows an outage to the alert."""
    stack, line = full_stack, json.dumps(SAMPLE).encode() + b"\n"
    many = "mutation ($samples: [RawSample!]!) { submitMany(samples: $samples) { id } }"
    before = failed_samples(stack)

    ndjson = stack.post_sample(line * 20, content_type=NDJSON)
    after_ndjson = failed_samples(stack)
    graphql = stack.post_graphql(many, {"samples": [SAMPLE] * 3})
    after_graphql = failed_samples(stack)
    message = submit_over_a_websocket(stack)

    assert before == {"UNAVAILABLE": before["UNAVAILABLE"], "INTERNAL": 0, "DATA_LOSS": 0}
    assert (ndjson.status_code, ndjson.text.count('"UNAVAILABLE"')) == (200, 20)
    assert after_ndjson["UNAVAILABLE"] - before["UNAVAILABLE"] == 20
    assert (graphql.status_code, graphql.text.count('"UNAVAILABLE"')) == (200, 3)
    assert after_graphql["UNAVAILABLE"] - after_ndjson["UNAVAILABLE"] == 3
    assert '"UNAVAILABLE"' in message
    assert failed_samples(stack)["UNAVAILABLE"] - after_graphql["UNAVAILABLE"] == 1


def test_errors_of_the_client_are_not_failed_samples(stack: Stack) -> None:
    """A client that sends garbage must not raise an alert."""
    before = failed_samples(stack)

    lines = stack.post_sample(b'not JSON\n{"data": []}\n', content_type=NDJSON).text.splitlines()
    stack.post_sample(b"not JSON")

    assert "error" in json.loads(lines[0])
    assert json.loads(lines[1])["state"] == "REJECTED"
    assert failed_samples(stack) == before
