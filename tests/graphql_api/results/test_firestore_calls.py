"""The number of calls to Firestore depends on the form of a query, not on the number of rows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from google.cloud.firestore import Client

from graphql_api.app import create_app
from graphql_api.auth.api_keys import ApiKey, new_key
from graphql_api.auth.secret_text import digest
from graphql_api.configuration.limits import Limits
from graphql_api.configuration.settings import Settings
from graphql_api.scopes import Scope
from storage.documents import Result, Statistics, Status, document_paths
from tests.infra.firestore.server_process import FirestoreProcess, call_count
from tests.ports import free_port
from tests.received import received_sample
from tests.stack import eventually

SUBMITTER = "station"
RESULTS = 50
RESULT_PAGE = (
    "query ($first: Int) { results(first: $first) { edges { node { id sample { id state result { mean } } } } } }"
)
SAMPLE_PAGE = (
    "query ($first: Int) { samples(first: $first) { edges { node { state result { mean sample { count } } } } } }"
)

Cost = Callable[[str, int], Awaitable[int]]


def _store(client: Client) -> str:
    """Store samples with their results; return an API key that can read them."""
    batch = client.batch()
    for number in range(RESULTS):
        raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%d]}' % number
        header = received_sample(raw, submitter=SUBMITTER).header
        instant = datetime(2019, 5, 1, tzinfo=UTC) + timedelta(hours=number)
        result = Result(
            SUBMITTER,
            header.id,
            instant,
            0,
            Status.COMPUTED,
            timestamp=instant,
            statistics=Statistics(1, number, 0.0, number, number),
        )
        for path, stored in (
            (document_paths.sample(SUBMITTER, header.id), header.fields() | {"submitted_at": instant}),
            (document_paths.result(SUBMITTER, header.id), result.fields() | {"computed_at": instant}),
        ):
            batch.set(client.document(path), stored)
    key = new_key()
    created = ApiKey(SUBMITTER, frozenset({Scope.READ}), "reader", datetime.now(UTC))
    batch.set(client.document(document_paths.api_key(digest(key))), created.fields())
    batch.commit()
    return key


def _is_used(client: Client, key: str) -> bool:
    return client.document(document_paths.api_key(digest(key))).get().get("last_used") is not None


@pytest.fixture
async def cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cost]:
    """Return a function that runs a query for a number of rows and returns the number of calls to Firestore."""
    http_port = free_port()
    firestore = FirestoreProcess(tmp_path, "--http-port", str(http_port))
    firestore.start()
    try:
        client = firestore.client()
        key = _store(client)
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore.address)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
        limits = Limits(max_memory_mib=2**20)  # this process runs other tests too
        app = create_app(Settings(limits=limits, key_cache_seconds=3_600))
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://api", headers={"x-api-key": key}) as api,
        ):

            async def run(query: str, first: int) -> int:
                before = call_count(http_port)
                response = (await api.post("/graphql", json={"query": query, "variables": {"first": first}})).json()
                assert "errors" not in response
                (connection,) = response["data"].values()
                assert len(connection["edges"]) == first
                return call_count(http_port) - before

            await run(RESULT_PAGE, 1)  # reads the API key, which is then cached, and stores its use in the background
            await asyncio.to_thread(eventually, lambda: _is_used(client, key))
            yield run
    finally:
        firestore.close()


@pytest.mark.parametrize("query", [RESULT_PAGE, SAMPLE_PAGE], ids=["results", "samples"])
async def test_a_page_costs_as_many_calls_as_one_of_its_rows(cost: Cost, query: str) -> None:
    """Documents of all rows are read by one call."""
    one, all_of_them = await cost(query, 1), await cost(query, RESULTS)

    assert 1 <= one <= 3
    assert all_of_them == one
