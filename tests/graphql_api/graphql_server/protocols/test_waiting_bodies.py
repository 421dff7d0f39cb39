"""The memory of large bodies whose operations wait for their turn."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from graphql_api.budgets.budgets import Budgets, SubmitterBudget
from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server import GraphQLEndpoint, GraphQLSettings
from graphql_api.graphql_server.requests.request_headers import Credential
from tests.graphql_api.graphql_server.example import State, make_schema, state_key
from tests.graphql_api.graphql_server.service import UNLIMITED_MIB, ExampleContext
from tests.stack import eventually

QUERY = "mutation($sample: RawSample!) { submit(sample: $sample) }"
BODY = json.dumps({"query": QUERY, "variables": {"sample": "x" * 900_000}}).encode()


class Stored(list[bytes]):
    """The samples that the mutation has stored. `reserved_bytes` is the memory of `submitter` during the last one."""

    def __init__(self, submitter: SubmitterBudget) -> None:
        super().__init__()
        self.reserved_bytes = 0
        self._submitter = submitter

    def append(self, sample: bytes) -> None:
        super().append(sample)
        self.reserved_bytes = self._submitter.request_bytes.used


def client_of(budgets: Budgets, submitter: SubmitterBudget, state: State | None = None) -> httpx.AsyncClient:
    """Return a client of the example schema in this event loop."""

    async def authenticate(_: Credential) -> ExampleContext:
        return ExampleContext(submitter, {state_key: state or State()})

    async def page(_: Request) -> Response:
        return Response()

    endpoint = GraphQLEndpoint(make_schema(), authenticate, GraphQLSettings(), page, budgets.memory)
    app = Starlette(routes=endpoint.routes)

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {}}, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(with_state), base_url="http://x")


async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body as a server receives it."""
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_large_body_counts_while_its_operation_waits(accept: str) -> None:
    """Otherwise a submitter could fill the memory with bodies of operations that wait for their turn."""
    budgets = Budgets(Limits(max_cost_per_submitter=2, max_memory_mib=UNLIMITED_MIB))
    submitter = budgets.submitter("somebody")
    headers = {"accept": accept, "content-type": "application/json"}
    async with client_of(budgets, submitter) as client:
        async with submitter.light_cost.hold(1):
            request = asyncio.create_task(client.post("/graphql", content=in_chunks(BODY), headers=headers))
            await asyncio.to_thread(eventually, lambda: submitter.light_cost.waiting)
            assert submitter.request_bytes.used == len(BODY)

        response = await request

    assert response.status_code == 200
    assert "errors" not in response.text
    assert submitter.request_bytes.used == 0


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_large_body_counts_while_its_samples_are_stored(accept: str) -> None:
    """The samples are parts of the body. Hundreds of requests can wait for the database at the same time."""
    budgets = Budgets(Limits(max_memory_mib=UNLIMITED_MIB))
    submitter = budgets.submitter("somebody")
    stored = Stored(submitter)
    headers = {"accept": accept, "content-type": "application/json"}
    async with client_of(budgets, submitter, State(submitted=stored)) as client:
        await client.post("/graphql", content=in_chunks(BODY), headers=headers)

    assert len(stored) == 1
    assert stored.reserved_bytes == len(BODY)
    assert submitter.request_bytes.used == 0


async def test_each_step_of_a_large_body_takes_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last bytes of many bodies can arrive in the same iteration of the event loop."""
    budgets = Budgets(Limits(max_memory_mib=UNLIMITED_MIB))
    small = json.dumps({"query": QUERY, "variables": {"sample": "x"}}).encode()
    turns = 0
    wait = budgets.turns.wait

    async def count(submitter: str) -> None:
        nonlocal turns
        turns += 1
        await wait(submitter)

    monkeypatch.setattr(budgets.turns, "wait", count)
    turns_of_requests = []
    async with client_of(budgets, budgets.submitter("somebody")) as client:
        for body in (small, small, small, BODY):  # the document is cached after the second request
            turns = 0
            response = await client.post("/graphql", content=body, headers={"content-type": "application/json"})
            assert "errors" not in response.text
            turns_of_requests.append(turns)

    # To receive the end of the body, to split the request, and to read its variables.
    assert turns_of_requests[3] == turns_of_requests[2] + 3
