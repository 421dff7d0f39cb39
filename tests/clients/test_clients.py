"""Common GraphQL clients work unchanged, and a linter accepts the schema."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.httpx import HTTPXTransport
from gql.transport.websockets import WebsocketsTransport

from tests.stack import FIXTURE, Stack, eventually

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
    """A submitter with ten results, of one to ten values, computed in this order."""

    def __init__(self, stack: Stack) -> None:
        self.url = f"{stack.url}/graphql"
        self.key = stack.new_key("clients")
        for count in COUNTS:
            sample = {"time_stamp": "2020-01-01T00:00:00Z", "data": [1.0] * count}
            receipt = stack.submit(sample, key=self.key)
            eventually(partial(self._is_computed, stack, receipt["id"]))
        listed = stack.graphql(PAGE, {"first": 1}, key=self.key)
        self.first_cursor = listed["results"]["edges"][0]["cursor"]

    def _is_computed(self, stack: Stack, sample_id: str) -> bool:
        return bool(stack.sample(sample_id, key=self.key)["state"] == "COMPUTED")

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the client programs."""
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
    """Return a submitter whose results all clients read."""
    return Submitter(stack)


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Return the output of a program. Fail with its errors."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_node
@pytest.mark.parametrize("name", ["urql", "apollo"])
def test_relay_client_pages_through_all_results(submitter: Submitter, name: str) -> None:
    """Its cache merges the pages without custom code."""
    assert NODE is not None
    assert json.loads(run([NODE, "clients.mjs", name], FOLDER, submitter.environment())) == COUNTS


@needs_node
@pytest.mark.parametrize("name", ["graphql-ws", "graphql-sse"])
def test_subscription_client_receives_all_results_after_a_cursor(submitter: Submitter, name: str) -> None:
    """They arrive in order."""
    assert NODE is not None
    assert json.loads(run([NODE, "clients.mjs", name], FOLDER, submitter.environment())) == COUNTS[1:]


@needs_node
def test_linter_accepts_the_schema() -> None:
    """All rules apply except those of alphabetical order."""
    linter = str(FOLDER / "node_modules" / ".bin" / "graphql-schema-linter")

    run([linter, "--rules", ",".join(RULES), str(Path("schema.graphql").absolute())], FOLDER)


@needs_generator
def test_generated_client_is_typed_and_works(submitter: Submitter, tmp_path: Path) -> None:
    """The client that ariadne-codegen generates passes mypy, submits, watches and lists."""
    for source in (Path("schema.graphql"), FOLDER / "operations.graphql", FOLDER / "use_generated.py"):
        shutil.copy(source, tmp_path)
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = true\n[mypy-generated.async_base_client]\nignore_errors = true\n"
    )

    run([str(GENERATOR / "ariadne-codegen"), "--config", str(FOLDER / "generated.toml")], tmp_path)
    run([sys.executable, "-m", "mypy", "--python-executable", str(GENERATOR / "python"), "-p", "generated"], tmp_path)
    output: dict[str, Any] = json.loads(
        run([str(GENERATOR / "python"), "use_generated.py"], tmp_path, submitter.environment())
    )

    fixture = len(json.loads(FIXTURE.read_text())["data"])
    assert (output["state"], output["timestamp"]) == ("PENDING", "2019-05-01T10:00:00+00:00")
    assert output["counts"] == fixture
    assert output["listed"] == sorted([*COUNTS, fixture])
    assert output["total"] == len(COUNTS) + 1


def test_gql_pages_through_all_results_without_an_event_loop(submitter: Submitter) -> None:
    """It reads the schema from the API and validates its queries."""
    transport = HTTPXTransport(url=submitter.url, headers={"x-api-key": submitter.key})
    counts: list[int] = []
    after = None
    with Client(transport=transport, fetch_schema_from_transport=True) as session:
        while True:
            page = session.execute(GraphQLRequest(PAGE, variable_values={"first": 4, "after": after}))["results"]
            counts += [edge["node"]["count"] for edge in page["edges"]]
            if not page["pageInfo"]["hasNextPage"]:
                break
            after = page["pageInfo"]["endCursor"]

    assert counts[: len(COUNTS)] == COUNTS


async def test_gql_reads_a_page_in_an_event_loop(submitter: Submitter) -> None:
    """It uses aiohttp."""
    transport = AIOHTTPTransport(url=submitter.url, headers={"x-api-key": submitter.key})
    async with Client(transport=transport) as session:
        page = (await session.execute(GraphQLRequest(PAGE, variable_values={"first": 4})))["results"]

    assert [edge["node"]["count"] for edge in page["edges"]] == COUNTS[:4]


async def test_gql_receives_all_results_over_a_websocket(submitter: Submitter) -> None:
    """It receives all results after its cursor."""
    transport = WebsocketsTransport(
        url=submitter.url.replace("http", "ws", 1), init_payload={"x-api-key": submitter.key}
    )
    counts: list[int] = []
    async with asyncio.timeout(30), Client(transport=transport) as session:
        async for event in session.subscribe(GraphQLRequest(WATCH, variable_values={"after": submitter.first_cursor})):
            counts.append(event["results"]["node"]["count"])
            if len(counts) == len(COUNTS) - 1:
                break

    assert counts == COUNTS[1:]
