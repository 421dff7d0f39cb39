"""`/readyz` says whether the service can store samples, not only whether it can read them."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import grpc
import httpx
import pytest
from starlette.applications import Starlette

from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.endpoints.health import HealthEndpoints
from storage.firestore.errors import FirestoreUnavailable
from tests.stack import Stack, eventually

SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%s]}' % b", ".join([b"0.5"] * 20_000)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack whose Firestore may be limited. Writes fail after two seconds."""
    with Stack(tmp_path, DROPZONE_WRITE_TIMEOUT_SECONDS="2") as stack:
        yield stack


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can limit the files of a running process")
def test_readiness_depends_on_writes(stack: Stack) -> None:
    """While the disk refuses writes, the API is not ready. It is ready again without a request that writes."""
    start = len(stack.log)
    stack.refuse_firestore_writes()
    eventually(lambda: stack.post_sample(SAMPLE).status_code == 503)

    refused = stack.post_sample(SAMPLE)
    readiness = [stack.get("/readyz") for _ in range(3)][-1]
    health = stack.get("/healthz")
    stack.accept_firestore_writes()
    eventually(stack.is_ready, lambda: stack.log)

    assert (readiness.status_code, health.status_code) == (503, 200)
    assert "Firestore does not accept writes" in readiness.text
    assert "nothing was written" in readiness.text
    assert "nothing was written" in refused.json()["error"]["message"]
    assert int(refused.headers["retry-after"]) >= 1
    eventually(lambda: "INFO the API is ready again" in stack.log[start:])
    assert stack.log[start:].count("WARNING the API is not ready: Firestore does not accept writes") == 1
    assert stack.post_sample(SAMPLE).status_code == 201


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can limit the files of a running process")
def test_an_api_that_starts_while_the_disk_refuses_writes_is_not_ready(stack: Stack) -> None:
    """It has no failed write of its own, because no client writes. It is ready as soon as the disk accepts writes."""
    api = stack.api_pid()
    stack.refuse_firestore_writes()
    os.kill(api, signal.SIGKILL)
    eventually(lambda: stack.pids_of("-m graphql_api") not in ([], [api]), lambda: stack.log)

    refused = [stack.get("/readyz") for _ in range(3)]
    stack.accept_firestore_writes()
    eventually(stack.is_ready, lambda: stack.log)

    assert [response.status_code for response in refused] == [503] * 3
    assert "Firestore does not accept writes" in refused[-1].text
    assert "nothing was written" in refused[-1].text
    assert stack.post_sample(SAMPLE).status_code == 201


async def test_concurrent_requests_share_a_check() -> None:
    """Each check reads from Firestore, and anyone can request it. The responses do not block the event loop."""
    checks, has_started, is_released = 0, asyncio.Event(), asyncio.Event()

    class Services:
        budgets = Budgets(Limits())

        async def check_firestore(self, timeout_seconds: float) -> None:
            nonlocal checks
            checks += 1
            has_started.set()
            await is_released.wait()

    app = Starlette(routes=[endpoint.route for endpoint in HealthEndpoints(Services(), None).endpoints])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        requests = [asyncio.create_task(client.get("/readyz")) for _ in range(1_000)]
        await has_started.wait()
        for _ in range(100):  # iterations of the event loop, in which the other requests arrive
            await asyncio.sleep(0)
        is_released.set()
        answered = [0]
        while answered[-1] < len(requests):
            await asyncio.sleep(0)
            answered.append(sum(request.done() for request in requests))

        assert checks == 1
        assert {request.result().status_code for request in requests} == {200}
        assert max(later - earlier for earlier, later in pairwise(answered)) < 500  # in one iteration
        await client.get("/readyz")
        assert checks == 2


async def test_anyone_can_read_the_response_so_only_the_log_names_addresses(caplog: pytest.LogCaptureFixture) -> None:
    """The log has one line when the API stops being ready, with the whole message of Firestore."""

    class Services:
        budgets = Budgets(Limits())

        async def check_firestore(self, timeout_seconds: float) -> None:
            del timeout_seconds
            raise FirestoreUnavailable(grpc.StatusCode.UNAVAILABLE, "no connection to ipv4:10.0.0.7:8080")

    app = Starlette(routes=[endpoint.route for endpoint in HealthEndpoints(Services(), None).endpoints])
    with caplog.at_level(logging.WARNING):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            responses = [await client.get("/readyz") for _ in range(2)]

    assert [response.text for response in responses] == ["Firestore returned UNAVAILABLE; retry later\n"] * 2
    assert caplog.messages == [
        "the API is not ready: Firestore returned UNAVAILABLE; retry later (no connection to ipv4:10.0.0.7:8080)"
    ]


async def test_the_api_waits_for_the_key_file_only_once(tmp_path: Path) -> None:
    """Clients that wait for readiness read the key next. Later, an operator may delete it: other keys still work."""
    file = tmp_path / "api-key"
    problem = FirestoreUnavailable(grpc.StatusCode.UNAVAILABLE, "The data file was moved or deleted.")
    problems: list[FirestoreUnavailable | None] = [problem, None, None, None, problem]

    class Services:
        budgets = Budgets(Limits())

        async def check_firestore(self, timeout_seconds: float) -> None:
            del timeout_seconds
            if (problem := problems.pop(0)) is not None:
                raise problem

    app = Starlette(routes=[endpoint.route for endpoint in HealthEndpoints(Services(), file).endpoints])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        responses = [await client.get("/readyz") for _ in range(2)]
        file.touch()
        responses.append(await client.get("/readyz"))
        file.unlink()
        responses += [await client.get("/readyz") for _ in range(2)]

    unavailable = (503, "Firestore returned UNAVAILABLE: The data file was moved or deleted; retry later\n")
    assert [(response.status_code, response.text) for response in responses] == [
        unavailable,
        (503, f"the API key file {file} does not exist yet\n"),
        (200, "ready\n"),
        (200, "ready\n"),
        unavailable,
    ]
