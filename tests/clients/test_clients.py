"""Clients of GraphQL work unchanged, and what they are generated from has no faults."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.httpx import HTTPXTransport
from gql.transport.websockets import WebsocketsTransport

from tests.stack import FIXTURE, Stack

FOLDER = Path(__file__).parent
GENERATOR = FOLDER / ".venv" / "bin"
NODE = shutil.which("node")
RULES = (
    "arguments-have-descriptions",
    "defined-types-are-used",
    "deprecations-have-a-reason",
    "descriptions-are-capitalized",
    "enum-values-all-caps",
    "enum-values-have-descriptions",
    "fields-are-camel-cased",
    "fields-have-descriptions",
    "input-object-values-are-camel-cased",
    "input-object-values-have-descriptions",
    "relay-connection-arguments-spec",
    "relay-connection-types-spec",
    "relay-page-info-spec",
    "types-are-capitalized",
    "types-have-descriptions",
)
COUNTS = list(range(1, 11))
PAGE = """
query Page($first: Int, $after: String) {
  results(orderBy: {field: COUNT}, first: $first, after: $after) {
    edges { cursor node { id count } }
    pageInfo { hasNextPage endCursor }
  }
}
"""
WATCH = "subscription Watch($after: String) { results(after: $after) { cursor node { id count } } }"

needs_node = pytest.mark.skipif(
    NODE is None or not (FOLDER / "node_modules").is_dir(), reason="needs Node, and `npm ci` in tests/clients"
)
needs_generator = pytest.mark.skipif(not GENERATOR.is_dir(), reason="needs what `make audit` sets up in tests/clients")


class Submitter:
    """A submitter with ten results, of one to ten values, written in this order."""

    def __init__(self, stack: Stack) -> None:
        self.url = f"{stack.url}/graphql"
        self.key = stack.new_key("clients")
        for count in COUNTS:
            sample = {"time_stamp": "2020-01-01T00:00:00Z", "data": [1.0] * count}
            receipt = stack.submit(sample, key=self.key)
            while stack.sample(receipt["id"], key=self.key)["state"] != "COMPUTED":
                pass
        listed = stack.graphql(PAGE, {"first": 1}, key=self.key)
        self.first_cursor = listed["results"]["edges"][0]["cursor"]

    def environment(self) -> dict[str, str]:
        """Return what the programs of other languages are told by."""
        return {
            **os.environ,
            "DROPZONE_URL": self.url,
            "DROPZONE_API_KEY": self.key,
            "DROPZONE_CURSOR": self.first_cursor,
            "DROPZONE_REST": str(len(COUNTS) - 1),
            "DROPZONE_FIXTURE": str(FIXTURE.absolute()),
        }


@pytest.fixture(scope="module")
def submitter(stack: Stack) -> Submitter:
    """Make the results that all clients look at."""
    return Submitter(stack)


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Return what a program prints; fail with what it complains about."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_node
@pytest.mark.parametrize("name", ["urql", "apollo"])
def test_a_client_with_relay_pagination_pages_through_everything(submitter: Submitter, name: str) -> None:
    """Its cache puts the pages together, by nothing but the connection's shape."""
    assert NODE is not None
    assert json.loads(run([NODE, "clients.mjs", name], FOLDER, submitter.environment())) == COUNTS


@needs_node
@pytest.mark.parametrize("name", ["graphql-ws", "graphql-sse"])
def test_a_client_of_a_subscription_protocol_replays(submitter: Submitter, name: str) -> None:
    """It has everything that was written behind its cursor, in order."""
    assert NODE is not None
    assert json.loads(run([NODE, "clients.mjs", name], FOLDER, submitter.environment())) == COUNTS[1:]


@needs_node
def test_the_linter_finds_nothing_in_the_schema() -> None:
    """All of its rules but those of alphabetical order, Relay's among them."""
    linter = str(FOLDER / "node_modules" / ".bin" / "graphql-schema-linter")

    run([linter, "--rules", ",".join(RULES), str(Path("schema.graphql").absolute())], FOLDER)


@needs_generator
def test_a_generated_client_is_typed_and_works(submitter: Submitter, tmp_path: Path) -> None:
    """What ariadne-codegen makes of schema.graphql passes mypy, submits, watches and lists."""
    for source in (Path("schema.graphql"), FOLDER / "operations.graphql", FOLDER / "use_generated.py"):
        shutil.copy(source, tmp_path)
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = true\n[mypy-generated.async_base_client]\nignore_errors = true\n"
    )

    run([str(GENERATOR / "ariadne-codegen"), "--config", str(FOLDER / "generated.toml")], tmp_path)
    run([sys.executable, "-m", "mypy", "--python-executable", str(GENERATOR / "python"), "-p", "generated"], tmp_path)
    seen: dict[str, Any] = json.loads(
        run([str(GENERATOR / "python"), "use_generated.py"], tmp_path, submitter.environment())
    )

    fixture = len(json.loads(FIXTURE.read_text())["data"])
    assert (seen["state"], seen["timestamp"]) == ("PENDING", "2019-05-01T10:00:00+00:00")
    assert seen["counts"] == fixture
    assert seen["listed"] == sorted([*COUNTS, fixture])
    assert seen["total"] == len(COUNTS) + 1


def test_gql_pages_synchronously(submitter: Submitter) -> None:
    """It takes the schema from the API and validates its queries against it."""
    transport = HTTPXTransport(url=submitter.url, headers={"x-api-key": submitter.key})
    seen: list[int] = []
    after = None
    with Client(transport=transport, fetch_schema_from_transport=True) as session:
        while True:
            page = session.execute(GraphQLRequest(PAGE, variable_values={"first": 4, "after": after}))["results"]
            seen += [edge["node"]["count"] for edge in page["edges"]]
            if not page["pageInfo"]["hasNextPage"]:
                break
            after = page["pageInfo"]["endCursor"]

    assert seen[: len(COUNTS)] == COUNTS


async def test_gql_asks_asynchronously(submitter: Submitter) -> None:
    """Over aiohttp."""
    transport = AIOHTTPTransport(url=submitter.url, headers={"x-api-key": submitter.key})
    async with Client(transport=transport) as session:
        page = (await session.execute(GraphQLRequest(PAGE, variable_values={"first": 4})))["results"]

    assert [edge["node"]["count"] for edge in page["edges"]] == COUNTS[:4]


async def test_gql_watches_over_a_websocket(submitter: Submitter) -> None:
    """It has everything behind its cursor."""
    transport = WebsocketsTransport(
        url=submitter.url.replace("http", "ws", 1), init_payload={"x-api-key": submitter.key}
    )
    seen: list[int] = []
    async with asyncio.timeout(30), Client(transport=transport) as session:
        async for event in session.subscribe(GraphQLRequest(WATCH, variable_values={"after": submitter.first_cursor})):
            seen.append(event["results"]["node"]["count"])
            if len(seen) == len(COUNTS) - 1:
                break

    assert seen == COUNTS[1:]
