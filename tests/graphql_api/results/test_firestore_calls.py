"""How many calls to Firestore a question costs: that depends on its form, never on the length of the answer."""

import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from google.cloud.firestore import Client

from graphql_api.app import create_app
from graphql_api.auth.api_keys import ApiKey, digest, new_key
from graphql_api.auth.scopes import Scope
from graphql_api.settings import Settings
from storage.documents import Result, Sample, Statistics, Status, document_paths
from tests.infra.firestore.server_process import FirestoreProcess
from tests.ports import free_port

SUBMITTER = "station"
RESULTS = 50
BOTH_WAYS = (
    "query ($first: Int) { results(first: $first) { edges { node { id sample { id state result { mean } } } } } }"
)
SAMPLES = "query ($first: Int) { samples(first: $first) { edges { node { state result { mean sample { count } } } } } }"

Cost = Callable[[str, int], Awaitable[int]]


def _store(client: Client) -> str:
    """Store samples with their results, and return a key to read them."""
    batch = client.batch()
    for number in range(RESULTS):
        raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%d]}' % number
        header = Sample.receive(raw, submitter=SUBMITTER).header
        moment = datetime(2019, 5, 1, tzinfo=UTC) + timedelta(hours=number)
        result = Result(
            SUBMITTER,
            header.id,
            moment,
            0,
            Status.COMPUTED,
            timestamp=moment,
            statistics=Statistics(1, number, 0.0, number, number),
        )
        for path, stored in (
            (document_paths.sample(SUBMITTER, header.id), header.fields() | {"submitted_at": moment}),
            (document_paths.result(SUBMITTER, header.id), result.fields() | {"computed_at": moment}),
        ):
            batch.set(client.document(path), stored)
    key = new_key()
    created = ApiKey(SUBMITTER, frozenset({Scope.READ}), "reader", datetime.now(UTC))
    batch.set(client.document(document_paths.api_key(digest(key))), created.fields())
    batch.commit()
    return key


def _calls(http_port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(line.rpartition(" ")[2]) for line in lines if line.startswith("firestore_calls_total{"))


@pytest.fixture
async def cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cost]:
    """Ask for so many, and return how many calls Firestore got."""
    http_port = free_port()
    firestore = FirestoreProcess(tmp_path, "--http-port", str(http_port))
    firestore.start()
    try:
        key = _store(firestore.client())
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore.address)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
        app = create_app(Settings())
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://api", headers={"x-api-key": key}) as client,
        ):

            async def ask(query: str, first: int) -> int:
                before = _calls(http_port)
                answer = (await client.post("/graphql", json={"query": query, "variables": {"first": first}})).json()
                assert "errors" not in answer
                (connection,) = answer["data"].values()
                assert len(connection["edges"]) == first
                return _calls(http_port) - before

            await ask(BOTH_WAYS, 1)  # the key is read once
            yield ask
    finally:
        firestore.close()


@pytest.mark.parametrize("query", [BOTH_WAYS, SAMPLES], ids=["results", "samples"])
async def test_a_page_costs_as_many_calls_as_one_of_its_rows(cost: Cost, query: str) -> None:
    """What belongs to the rows is read for all of them together."""
    one, all_of_them = await cost(query, 1), await cost(query, RESULTS)

    assert 1 <= one <= 3
    assert all_of_them == one
