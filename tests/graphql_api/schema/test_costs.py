"""Heavy operations are refused or wait, and do not delay light operations."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from graphql import OperationDefinitionNode, parse

from graphql_api.configuration.limits import Limits
from graphql_api.graphql_server.execution.operation_cost import OperationCost
from graphql_api.schema.executable_schema import executable_schema
from tests.another_api import AnotherApi
from tests.graphql_api.schema.subscriber import WATCH, watching
from tests.stack import SUBMIT, Stack, eventually

SAMPLE = {"time_stamp": "2020-01-01T00:00:00Z", "data": [1, 2]}
RESULTS = 200
HISTOGRAMS = " ".join(f"a{number}: histogram {{ counts }}" for number in range(30))
OPERATIONS = Path("graphql_api/web/dashboard/src/operations")


@pytest.fixture(scope="module")
def small_budget(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API with low limits and some results."""
    settings = {
        "DROPZONE_MAX_COST_PER_SUBMITTER": "20",
        "DROPZONE_MAX_WAITING_OPERATIONS_PER_SUBMITTER": "5",
        "DROPZONE_MAX_OPERATION_COST": "300",
        "DROPZONE_MAX_SUBSCRIPTIONS_PER_SUBMITTER": "10",
    }
    with AnotherApi(stack, tmp_path_factory.mktemp("costs"), **settings) as api:
        api.graphql("mutation ($s: [RawSample!]!) { submitMany(samples: $s) { id } }", {"s": [SAMPLE] * RESULTS})
        eventually(lambda: api.graphql("{ results(first: 0) { totalCount } }")["results"]["totalCount"] == RESULTS)
        yield api


@pytest.mark.parametrize("name", ["overtime", "summary"])
def test_the_dashboard_may_run_its_summaries(name: str) -> None:
    """The default limit allows them, with and without `groupBy`."""
    document = parse((OPERATIONS / f"{name}.graphql").read_text())
    (operation,) = (each for each in document.definitions if isinstance(each, OperationDefinitionNode))

    for names in (None, ["site"]):
        assert (
            OperationCost(executable_schema(), document, operation).of({"groupBy": names})
            <= Limits().max_operation_cost
        )


@pytest.mark.parametrize(
    ("field", "selection"),
    [
        ('latestResults(groupBy: ["site"])', "histogram { counts edges }"),
        ('resultsOverTime(bucket: MINUTE, groupBy: ["site"])', "labels { name }"),
        ('resultsSummary(groupBy: ["site"])', "groups { labels { name value } mean minimum maximum results values }"),
        ("auditLog(first: 500)", "sampleIds"),
    ],
)
def test_many_copies_of_a_field_in_a_list_cost_too_much(field: str, selection: str) -> None:
    """The responses would have 50 to 200 MB. The number of labels in `groupBy` is not the number of groups."""
    copies = " ".join(f"a{number}: {selection}" for number in range(60))
    document = parse(f"{{ {field} {{ {copies} }} }}")
    (operation,) = (each for each in document.definitions if isinstance(each, OperationDefinitionNode))

    assert OperationCost(executable_schema(), document, operation).of({}) > Limits().max_operation_cost


def test_every_query_field_declares_its_cost() -> None:
    """Many aliases of a field without a cost would count as a light operation."""
    queries = executable_schema().query_type
    assert queries is not None

    assert [name for name, field in queries.fields.items() if "cost" not in field.extensions] == []


def test_the_declared_costs_are_documented() -> None:
    """Each root field is in the row of docs/security.md with its units. Pages of results and samples have a row."""
    schema = executable_schema()
    section = Path("docs/security.md").read_text().partition("### The cost of an operation\n")[2].partition("\n### ")[0]
    documented = {
        name: units
        for names, units in re.findall(r"^\| (.*?) \| ([\d.]+)", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    declared = {
        name: f"{cost.units or cost.units_per_item:g}"
        for kind in (schema.query_type, schema.mutation_type)
        if kind is not None
        for name, field in kind.fields.items()
        if (cost := field.extensions.get("cost")) is not None and name not in ("results", "samples")
    }

    assert {name: documented.get(name) for name in declared} == declared


@pytest.mark.parametrize(
    "selection",
    [
        " ".join(f"a{number}: results(first: 500) {{ edges {{ node {{ id }} }} }}" for number in range(30)),
        " ".join(f"a{number}: resultsSummary {{ mean }}" for number in range(100)),
        f"results(first: 200) {{ edges {{ node {{ {HISTOGRAMS} }} }} }}",
        f"__schema {{ types {{ fields {{ {' '.join(f'a{number}: name' for number in range(300))} }} }} }}",
    ],
)
def test_an_operation_that_costs_too_much_is_not_executed(small_budget: Stack, selection: str) -> None:
    """The error says what it costs and what to reduce."""
    response = small_budget.post_graphql(f"{{ {selection} }}").json()

    extensions = response["errors"][0]["extensions"]
    assert (extensions["code"], extensions["limit"]) == ("OPERATION_TOO_COMPLEX", "max_operation_cost")
    assert "the limit max_operation_cost is 300" in response["errors"][0]["message"]
    assert "data" not in response


async def test_light_operations_do_not_wait_for_heavy_ones(small_budget: Stack) -> None:
    """Heavy ones wait for each other, and too many that wait are refused with the time to retry."""
    headers = {"x-api-key": small_budget.key}
    heavy = {
        "query": "{ " + "".join(f"a{n}: results(first: 200) {{ edges {{ node {{ id }} }} }} " for n in range(6)) + "}"
    }
    async with httpx.AsyncClient(base_url=small_budget.url, headers=headers, timeout=60) as client:
        await client.post("/graphql", json=heavy)  # reads the document
        pending = [asyncio.create_task(client.post("/graphql", json=heavy)) for _ in range(30)]
        submitted = await client.post("/graphql", json={"query": SUBMIT, "variables": {"sample": SAMPLE}})
        responses = await asyncio.gather(*pending)

    assert submitted.json()["data"]["submit"]["state"] == "PENDING"
    refused = [response for response in responses if response.status_code == 429]
    executed = [response for response in responses if response.status_code == 200 and response.json()["data"]]
    late = [response for response in responses if response.status_code == 503]  # waited too long, on a busy machine
    assert len(executed) + len(late) >= 6
    assert len(executed) + len(late) + len(refused) == 30
    assert executed
    assert refused
    for response in refused:
        assert response.headers["retry-after"] == "1"
        assert response.json()["errors"][0]["extensions"]["limit"] == "max_waiting_operations_per_submitter"


async def test_subscriptions_are_limited_over_all_protocols(small_budget: Stack) -> None:
    """Over WebSockets with an error of the operation, and over event streams with the status 429."""
    key = await anyio.to_thread.run_sync(small_budget.new_key, "subscribers")  # without results that arrive meanwhile
    async with watching(small_budget, key) as socket, httpx.AsyncClient(base_url=small_budget.url) as client:
        for number in range(15):
            message = {"id": str(number), "type": "subscribe", "payload": {"query": WATCH}}
            await socket.send(json.dumps(message))
        refused = [json.loads(await socket.recv()) for _ in range(5)]
        headers = {"x-api-key": key, "accept": "text/event-stream"}
        response = await client.post("/graphql", json={"query": WATCH}, headers=headers)

        assert {message["payload"][0]["extensions"]["limit"] for message in refused} == {
            "max_subscriptions_per_submitter"
        }
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")
        await socket.send(json.dumps({"id": "0", "type": "complete"}))
        await socket.send(json.dumps({"id": "query", "type": "subscribe", "payload": {"query": "{ __typename }"}}))
        assert json.loads(await socket.recv())["type"] == "next"
    assert await anyio.to_thread.run_sync(eventually, lambda: opens_stream(small_budget, key))


def opens_stream(stack: Stack, key: str) -> bool:
    """Return whether another subscription can start. The subscriptions of a closed WebSocket have then ended."""
    headers = {"x-api-key": key, "accept": "text/event-stream"}
    with httpx.stream("POST", f"{stack.url}/graphql", json={"query": WATCH}, headers=headers) as response:
        return response.status_code == 200


async def test_a_query_ends_when_its_client_disconnects(small_budget: Stack) -> None:
    """Queries of clients that are gone would otherwise wait and run for minutes."""
    body = json.dumps({"query": "{ resultsSummary { mean } }"}).encode()
    head = f"POST /graphql HTTP/1.1\r\nhost: x\r\nx-api-key: {small_budget.key}\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    for _ in range(100):
        _, writer = await asyncio.open_connection("127.0.0.1", small_budget.api_port)
        writer.write(request)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with httpx.AsyncClient(base_url=small_budget.url, headers={"x-api-key": small_budget.key}) as client:
        for _ in range(5):
            response = await client.post("/graphql", content=body, headers={"content-type": "application/json"})
            if response.status_code == 200:
                break
            await asyncio.sleep(int(response.headers["retry-after"]))
    assert "data" in response.json()
