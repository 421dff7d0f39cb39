"""Each request has an id: in the response header, in error bodies and in the log."""

import asyncio
import re

import anyio.to_thread
import httpx
import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.client import connect

from graphql_api.app import create_app
from graphql_api.configuration.settings import Settings
from tests.stack import Stack, eventually

MADE = re.compile(r"[0-9a-f]{32}")


def test_the_id_of_a_client_is_returned_and_logged_with_route_status_and_submitter(stack: Stack) -> None:
    """The line has the route, because a query string can contain a key or data."""
    stack.get("/results?mean.gte=12345.5", **{"x-request-id": "from-the-client"})
    refused = stack.get("/samples/unknown", **{"x-request-id": "refused-1"})

    lines = eventually(lambda: [line for line in stack.log.splitlines() if "from-the-client" in line])
    assert len(lines) == 1
    assert re.search(r"access INFO GET /results 200, [0-9.]+ ms, 0 bytes in, \d+ bytes out", lines[0])
    assert "submitter=local" in lines[0]
    assert "12345.5" not in stack.log
    assert refused.headers["x-request-id"] == "refused-1"
    assert refused.json()["error"]["extensions"] == {"code": "NOT_FOUND", "requestId": "refused-1"}


async def test_the_response_to_an_unexpected_error_is_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    """It has the id and the security headers, and is counted once. The log has the id of the error."""
    app = create_app(Settings())  # without its lifespan, it has no services
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    labels = {"route": "/session", "method": "GET", "status": "500"}
    before = REGISTRY.get_sample_value("dropzone_http_requests_total", labels) or 0
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        response = await client.get("/session", headers={"x-request-id": "broken-1", "x-api-key": "any"})

    error = response.json()["error"]
    assert (response.status_code, error["extensions"]["code"]) == (500, "INTERNAL")
    assert response.headers["x-request-id"] == error["extensions"]["requestId"] == "broken-1"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert error["extensions"]["id"] in caplog.text
    assert REGISTRY.get_sample_value("dropzone_http_requests_total", labels) == before + 1


def test_a_request_without_an_id_or_with_a_malformed_one_gets_one(stack: Stack) -> None:
    """A malformed id is not written into the log."""
    made = stack.post_graphql("{ __typename }").headers["x-request-id"]
    invalid = stack.post_graphql("{ nothing }")
    malformed = stack.get("/samples/unknown", **{"x-request-id": "<script>"}).headers["x-request-id"]

    assert MADE.fullmatch(made)
    assert MADE.fullmatch(malformed)
    assert invalid.json()["errors"][0]["extensions"]["requestId"] == invalid.headers["x-request-id"]
    assert "<script>" not in stack.log


def test_neither_a_key_nor_data_is_in_the_log(stack: Stack) -> None:
    """Also not those of requests that fail."""
    stack.post_sample(b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [8675309.25]}')
    stack.post_sample(b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [8675309.25, "secret-text"]}')
    stack.post_graphql('{ sample(id: "secret-text") { id } }')
    httpx.get(f"{stack.url}/graphql", params={"query": "{ secretText }"}, headers={"x-api-key": stack.key})
    httpx.get(f"{stack.url}/samples/secret-text", headers={"x-api-key": "dz_not-a-key"})
    stack.get("/samples/unknown", **{"x-request-id": "last-of-these"})

    eventually(lambda: "last-of-these" in stack.log)
    for secret in (stack.key, "8675309", "secret-text", "secretText", "dz_not-a-key"):
        assert secret not in stack.log


async def test_a_websocket_is_logged_when_it_ends(stack: Stack) -> None:
    """The response to the handshake has the id."""
    uri = stack.url.replace("http", "ws") + "/graphql"
    headers = {"x-request-id": "socket-1"}
    async with connect(uri, additional_headers=headers, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        assert socket.response is not None
        returned = socket.response.headers["x-request-id"]
        await socket.send('{"type": "connection_init", "payload": {"x-api-key": "' + stack.key + '"}}')
        await socket.recv()
        is_logged_early = await anyio.to_thread.run_sync(lambda: "socket-1" in stack.log)

    assert returned == "socket-1"
    assert not is_logged_early
    await asyncio.to_thread(eventually, lambda: re.search(r"GET /graphql 101, .*socket-1", stack.log))


def test_probes_are_not_logged(stack: Stack) -> None:
    """The supervisor and Prometheus send one every few seconds."""
    for path in ("/healthz", "/readyz", "/metrics"):
        assert stack.get(path, **{"x-request-id": "from-a-probe"}).headers["x-request-id"] == "from-a-probe"
    stack.get("/samples/unknown", **{"x-request-id": "after-the-probes"})

    eventually(lambda: "after-the-probes" in stack.log)
    assert "from-a-probe" not in stack.log
