"""The budgets of memory and uploads: some of many large requests are refused, and small ones are accepted."""

import contextlib
import select
import socket
from collections.abc import Iterator

import pytest

from graphql_api.budgets.budget import Budget
from graphql_api.budgets.memory_budget import MemoryBudget
from storage.documents import RateLimited, Unavailable
from tests.another_api import AnotherApi
from tests.stack import PATIENCE_SECONDS, Stack, eventually

SMALL = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}'
MEDIUM = SMALL[:-2] + b", 1.5" * 20_000 + b"]}"
LARGE = SMALL[:-2] + b", 1.5" * 180_000 + b"]}"
MAX_UPLOADS = 14
JSON, NDJSON = "application/json", "application/x-ndjson"


@pytest.fixture(scope="module")
def small_stack(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API whose memory budget is eight of its largest samples."""
    settings = {
        "DROPZONE_MAX_SAMPLE_MIB": "1",
        "DROPZONE_MAX_LARGE_REQUESTS_MIB": "8",
        "DROPZONE_MAX_UPLOADS_PER_SUBMITTER": str(MAX_UPLOADS),
    }
    with AnotherApi(stack, tmp_path_factory.mktemp("memory-budget"), **settings) as api:
        yield api


def half_sent(stack: Stack, path: str, kind: str, body: bytes = LARGE) -> socket.socket:
    """Send a request without its last byte."""
    connection = socket.create_connection(("127.0.0.1", stack.api_port), timeout=PATIENCE_SECONDS)
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {stack.key}\r\ncontent-type: {kind}\r\n"
    connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:-1])
    return connection


def responses(sent: list[socket.socket]) -> Iterator[bytes]:
    """Yield the data that arrives on any of the connections, until none arrives for a long time."""
    while readable := select.select(sent, [], [], PATIENCE_SECONDS)[0]:
        for connection in readable:
            data = connection.recv(65536)
            if not data:
                sent.remove(connection)
            yield data


@pytest.mark.parametrize(("path", "kind"), [("/samples", JSON), ("/samples", NDJSON), ("/graphql", JSON)])
def test_large_requests_beyond_the_budget_are_refused(small_stack: Stack, path: str, kind: str) -> None:
    """Small requests are accepted meanwhile, and large ones again when others have ended."""
    with contextlib.ExitStack() as sockets:
        sent = [sockets.enter_context(half_sent(small_stack, path, kind)) for _ in range(MAX_UPLOADS)]

        refused = next(response for response in responses(sent) if b"UNAVAILABLE" in response)

        assert b"too many large requests" in refused
        assert small_stack.post_sample(SMALL).status_code == 201

    eventually(lambda: small_stack.post_sample(LARGE).status_code == 201)


@pytest.mark.parametrize("path", ["/samples", "/graphql"])
def test_uploads_beyond_the_limit_are_refused(small_stack: Stack, path: str) -> None:
    """Small requests are accepted meanwhile, and uploads again when others have ended."""
    with contextlib.ExitStack() as sockets:
        for _ in range(MAX_UPLOADS + 2):  # small bodies that are incomplete do not count
            sockets.enter_context(half_sent(small_stack, path, JSON, SMALL))
        assert small_stack.post_sample(MEDIUM).status_code == 201
        sent = [sockets.enter_context(half_sent(small_stack, path, JSON, MEDIUM)) for _ in range(MAX_UPLOADS + 2)]

        refused = next(response for response in responses(sent) if b"RATE_LIMITED" in response)

        assert b"max_uploads_per_submitter" in refused
        assert small_stack.post_sample(SMALL).status_code == 201

    eventually(lambda: small_stack.post_sample(LARGE).status_code == 201)


def test_a_reservation_over_the_share_of_a_submitter_reserves_nothing() -> None:
    """The memory would otherwise be lost until the process restarts."""
    memory_budget, share = MemoryBudget(100), Budget("share", 10)
    share.take(5)
    with (
        memory_budget.new_reservation(share) as refused,
        memory_budget.new_reservation() as first,
        memory_budget.new_reservation() as second,
    ):
        with pytest.raises(RateLimited):
            refused.resize(8)
        first.resize(60)
        second.resize(40)


def test_a_single_reservation_may_have_any_size() -> None:
    """The limit of the budget holds for several reservations together."""
    memory_budget = MemoryBudget(10)
    with memory_budget.new_reservation() as first, memory_budget.new_reservation() as second:
        first.resize(100)
        with pytest.raises(Unavailable):
            second.resize(1)
        first.resize(9)
        second.resize(1)
        with pytest.raises(Unavailable):
            first.resize(10)
    with memory_budget.new_reservation() as third:
        third.resize(100)
