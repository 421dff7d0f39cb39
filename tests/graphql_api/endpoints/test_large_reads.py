"""Large documents that clients read slowly or not at all. Each holds memory until its client has received it."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.another_api import AnotherApi
from tests.graphql_api.schema.subscriber import subscribe, watching
from tests.stack import PATIENCE_SECONDS, Stack, eventually

SUBSCRIPTION = "subscription { results { node { sample { raw } } } }"
MEDIUM = {"time_stamp": "2019-05-01T06:00:00Z", "data": [0.5] * 50_000}
VALUES = 1_200_000
SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%b1]}' % (b"1.2345678," * VALUES)


@pytest.fixture(scope="module")
def narrow_stack(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Return an API in which a submitter may have 16 MiB of large requests, and one operation that reads them."""
    settings = {"DROPZONE_MAX_LARGE_REQUESTS_MIB_PER_SUBMITTER": "16", "DROPZONE_MAX_LARGE_READS_PER_SUBMITTER": "1"}
    with AnotherApi(stack, tmp_path_factory.mktemp("large-reads"), **settings) as api:
        yield api


@pytest.fixture(scope="module")
def sample_id(narrow_stack: Stack) -> str:
    """Store a sample of 12 MB."""
    response = narrow_stack.post_sample(SAMPLE)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def request(stack: Stack, method: str, path: str, body: bytes = b"") -> socket.socket:
    """Send a request over a new connection, and do not read the response."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(PATIENCE_SECONDS)
    client.connect(("127.0.0.1", stack.api_port))
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {stack.key}\r\ncontent-type: application/json\r\n"
    client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return client


@pytest.mark.parametrize("field", ["raw", "data", ""])
def test_a_response_that_is_not_read_holds_memory(narrow_stack: Stack, sample_id: str, field: str) -> None:
    """Further large documents of the submitter are refused meanwhile, and small ones are read."""
    query = json.dumps({"query": f'{{ sample(id: "{sample_id}") {{ {field} }} }}'}).encode()
    method, path, body = ("POST", "/graphql", query) if field else ("GET", f"/samples/{sample_id}", b"")
    small_id = narrow_stack.submit({"time_stamp": "2019-05-01T06:00:00Z", "data": [1]})["id"]

    with closing(request(narrow_stack, method, path, body)) as unread:
        assert unread.recv(12) == b"HTTP/1.1 200"
        for _ in range(2):
            with closing(request(narrow_stack, method, path, body)) as refused:
                assert refused.recv(12) == b"HTTP/1.1 429"
        assert narrow_stack.get(f"/samples/{small_id}").status_code == 200

    assert eventually(lambda: narrow_stack.get(f"/samples/{sample_id}").content == SAMPLE)


@pytest.mark.parametrize(("operation", "status"), [("query", b"429"), ("mutation", b"503")])
def test_many_copies_of_a_small_document_hold_memory_too(narrow_stack: Stack, operation: str, status: bytes) -> None:
    """A response can contain the same document for each alias. The sample of a mutation may be stored."""
    sample = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "note": "a" * 60_000}
    sample_id = narrow_stack.submit(sample)["id"]
    copies = " ".join(f"a{number}: raw" for number in range(200))
    query = {
        "query": f'query {{ sample(id: "{sample_id}") {{ {copies} }} }}',
        "mutation": f"mutation ($sample: RawSample!) {{ submit(sample: $sample) {{ {copies} }} }}",
    }[operation]
    body = json.dumps({"query": query, "variables": {"sample": sample}}).encode()

    with closing(request(narrow_stack, "POST", "/graphql", body)) as unread:
        assert unread.recv(12) == b"HTTP/1.1 200"
        with closing(request(narrow_stack, "POST", "/graphql", body)) as refused:
            assert refused.recv(12) == b"HTTP/1.1 " + status
        assert narrow_stack.get(f"/samples/{sample_id}").status_code == 200


def test_a_mutation_whose_response_is_refused_may_have_stored_samples(narrow_stack: Stack) -> None:
    """RATE_LIMITED would say that nothing was stored, and a client would submit the samples twice."""
    sample_id = narrow_stack.submit({"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "note": "a" * 60_000})["id"]
    copies = " ".join(f"a{number}: raw" for number in range(270))
    body = json.dumps({"query": f'{{ sample(id: "{sample_id}") {{ {copies} }} }}'}).encode()
    digests = " ".join(f"a{number}: sha256" for number in range(10))
    mutation = f"mutation ($samples: [RawSample!]!) {{ submitMany(samples: $samples) {{ {digests} }} }}"
    samples = [{"time_stamp": "2019-05-01T06:00:00Z", "data": [number]} for number in range(1_000)]

    with closing(request(narrow_stack, "POST", "/graphql", body)) as unread:
        assert unread.recv(12) == b"HTTP/1.1 200"
        refused = narrow_stack.post_graphql(mutation, {"samples": samples})

    assert refused.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert narrow_stack.graphql("{ samples(first: 1) { totalCount } }")["samples"]["totalCount"] >= len(samples)


@pytest.mark.parametrize("field", ["raw", "data"])
def test_a_response_cannot_contain_a_large_document_many_times(stack: Stack, field: str) -> None:
    """An operation may have hundreds of aliases. A part of the values counts as a part of the document."""
    sample_id = stack.post_sample(SAMPLE).json()["id"]
    copies = " ".join(f"a{number}: {field}" for number in range(12))
    query = f"query ($id: ID!) {{ sample(id: $id) {{ {copies} }} }}"

    refused = stack.post_graphql(query, {"id": sample_id})

    assert len(refused.content) < 10_000
    assert {error["extensions"]["code"] for error in refused.json()["errors"]} == {"TOO_LARGE"}
    parts = query.replace(field, "data(first: 10)")
    assert len(stack.graphql(parts, {"id": sample_id})["sample"]) == 12


def test_a_response_can_contain_a_large_document_and_its_values(narrow_stack: Stack, sample_id: str) -> None:
    """Even if the document alone needs more than the share of the submitter."""
    query = "query ($id: ID!) { sample(id: $id) { raw data } }"

    sample = narrow_stack.graphql(query, {"id": sample_id})["sample"]

    assert sample["raw"]["data"] == sample["data"]


def test_all_values_of_a_large_sample_are_returned(narrow_stack: Stack, sample_id: str) -> None:
    """Or the requested part of them."""
    query = "query ($id: ID!) { sample(id: $id) { data part: data(first: 3, offset: 1199999) } }"

    sample = narrow_stack.graphql(query, {"id": sample_id})["sample"]

    assert sample["data"] == [1.2345678] * VALUES + [1]
    assert sample["part"] == [1.2345678, 1]


def test_a_stream_that_waits_for_its_next_event_holds_nothing(narrow_stack: Stack) -> None:
    """Its client has received the large document of the last event. Others can then be read."""
    headers = {"x-api-key": narrow_stack.key, "accept": "text/event-stream"}
    with narrow_stack.stream("POST", "/graphql", json={"query": SUBSCRIPTION}, headers=headers) as response:
        lines = response.iter_lines()
        eventually(lambda: "\ndropzone_subscriptions 1.0\n" in narrow_stack.get("/metrics").text)  # it has started
        sample_id = narrow_stack.submit(MEDIUM)["id"]
        assert '"raw"' in next(line for line in lines if line.startswith("data:"))

        assert narrow_stack.get(f"/samples/{sample_id}").status_code == 200


async def test_a_subscription_over_a_websocket_that_waits_holds_nothing(narrow_stack: Stack) -> None:
    """Its client has received the large document of the last event."""
    async with watching(narrow_stack, narrow_stack.key) as websocket:
        await subscribe(websocket, SUBSCRIPTION)
        sample_id = (await asyncio.to_thread(narrow_stack.submit, MEDIUM))["id"]
        assert json.loads(await websocket.recv())["type"] == "next"

        response = await asyncio.to_thread(narrow_stack.get, f"/samples/{sample_id}")
        assert response.status_code == 200
