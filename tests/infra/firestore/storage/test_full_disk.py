"""A full or failing disk: writes are rejected, acknowledged documents stay, and writes work again afterwards."""

import asyncio
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.api_core.exceptions import ResourceExhausted, ServiceUnavailable
from google.cloud.firestore import AsyncClient

from infra.embedded.firestore.api.firestore_server import FirestoreServer
from infra.embedded.firestore.storage.storage import Storage
from tests.infra.firestore.server_process import FirestoreProcess

TEXT = "x" * 20_000


class LimitedServer:
    """A server in this process whose file can be limited in size."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def start(self) -> None:
        """Open the file and serve it."""
        self._storage = Storage(self._path)
        self._server = FirestoreServer(self._storage, "127.0.0.1", 0)
        await self._server.start()
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{self._server.port}")
            self.client = AsyncClient(project="p")

    async def stop(self) -> None:
        """Stop serving and close the file."""
        await self._server.stop()
        await self._storage.close()

    async def limit_free_pages(self, pages: int) -> None:
        """Let the file grow by at most `pages` pages."""
        used = await self._storage.execute(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
        limit = f"PRAGMA max_page_count = {used + pages}"
        await self._storage.execute(lambda connection: connection.execute(limit).fetchone())


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[LimitedServer]:
    """A running server."""
    small = LimitedServer(tmp_path / "firestore.sqlite")
    await small.start()
    yield small
    await small.stop()


async def fill(client: AsyncClient) -> list[str]:
    """Write pairs of documents with four workers until each is rejected. Return the acknowledged ids."""
    acknowledged: list[str] = []

    async def work(first: int) -> None:
        for number in range(first, 100_000, 4):
            batch = client.batch()
            for collection in ("left", "right"):
                batch.set(client.document(f"{collection}/{number:06}"), {"n": number, "text": TEXT})
            try:
                await batch.commit(retry=None)
            except ResourceExhausted:
                return
            acknowledged.append(f"{number:06}")

    await asyncio.gather(*map(work, range(4)))
    return acknowledged


async def ids(client: AsyncClient, collection: str) -> list[str]:
    """Return the ids of all documents of a collection, read from an index."""
    return [found.id async for found in client.collection(collection).order_by("n").stream()]


async def test_a_commit_without_space_is_rejected_as_a_whole(small: LimitedServer) -> None:
    """Reads still work. Once there is space again, writes work too."""
    await small.limit_free_pages(pages=200)

    acknowledged = await fill(small.client)

    assert len(acknowledged) > 5
    assert await ids(small.client, "left") == sorted(acknowledged)
    assert await ids(small.client, "right") == sorted(acknowledged)
    await small.limit_free_pages(pages=1000)
    await small.client.document("left/999999").set({"n": 999_999, "text": TEXT}, retry=None)
    assert await ids(small.client, "left") == [*sorted(acknowledged), "999999"]


async def test_documents_acknowledged_before_the_disk_was_full_survive_a_restart(small: LimitedServer) -> None:
    """And rejected documents do not appear."""
    await small.limit_free_pages(pages=200)
    acknowledged = await fill(small.client)
    await small.stop()

    await small.start()

    assert await ids(small.client, "left") == sorted(acknowledged)
    assert await ids(small.client, "right") == sorted(acknowledged)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit the files of a running process")
def test_writes_are_unavailable_while_the_disk_fails(own: FirestoreProcess) -> None:
    """Reads still work. Writes work again as soon as the disk does."""
    own.start()
    client = own.client()
    client.document("a/first").set({"text": TEXT})
    own.limit_files(own.data.with_name(own.data.name + "-wal").stat().st_size + 100_000)

    acknowledged: list[str] = []

    def fill() -> None:
        for number in range(100):
            client.document(f"a/{number:03}").set({"text": TEXT}, retry=None)
            acknowledged.append(f"{number:03}")

    with pytest.raises(ServiceUnavailable, match="nothing was written"):
        fill()
    found = [each.id for each in client.collection("a").stream()]
    own.limit_files(resource.RLIM_INFINITY)
    client.document("a/last").set({"text": TEXT}, retry=None)

    assert found == [*acknowledged, "first"]
    assert [each.id for each in client.collection("a").stream()] == [*acknowledged, "first", "last"]
