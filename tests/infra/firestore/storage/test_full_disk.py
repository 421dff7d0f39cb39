"""A disk that is full, or fails: writes are refused, nothing that was acknowledged is lost, and then it goes on."""

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


class Small:
    """A server in this process, whose file can be kept from growing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def start(self) -> None:
        """Begin to serve."""
        self._storage = Storage(self._path)
        self._server = FirestoreServer(self._storage, "127.0.0.1", 0)
        await self._server.start()
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{self._server.port}")
            self.client = AsyncClient(project="p")

    async def stop(self) -> None:
        """Serve no more."""
        await self._server.stop()
        await self._storage.close()

    async def leave(self, pages: int) -> None:
        """Leave room for so many pages of the file."""
        used = await self._storage.execute(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
        most = f"PRAGMA max_page_count = {used + pages}"
        await self._storage.execute(lambda connection: connection.execute(most).fetchone())


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Small]:
    """A server that has started."""
    small = Small(tmp_path / "firestore.sqlite")
    await small.start()
    yield small
    await small.stop()


async def fill(client: AsyncClient) -> list[str]:
    """Write pairs of documents, several at a time, until each is refused; return what was acknowledged."""
    acknowledged: list[str] = []

    async def work(first: int) -> None:
        for number in range(first, 100_000, 4):
            batch = client.batch()
            for kind in ("left", "right"):
                batch.set(client.document(f"{kind}/{number:06}"), {"n": number, "text": TEXT})
            try:
                await batch.commit(retry=None)
            except ResourceExhausted:
                return
            acknowledged.append(f"{number:06}")

    await asyncio.gather(*map(work, range(4)))
    return acknowledged


async def ids(client: AsyncClient, kind: str) -> list[str]:
    """Return the ids of all documents of a kind, from an index."""
    return [found.id async for found in client.collection(kind).order_by("n").stream()]


async def test_what_finds_no_room_is_refused_as_a_whole_and_the_rest_stays(small: Small) -> None:
    """Reads go on, what is small may still find room, and once there is space everything does."""
    await small.leave(pages=200)

    acknowledged = await fill(small.client)

    assert len(acknowledged) > 5
    assert await ids(small.client, "left") == sorted(acknowledged)
    assert await ids(small.client, "right") == sorted(acknowledged)
    await small.leave(pages=1000)
    await small.client.document("left/999999").set({"n": 999_999, "text": TEXT}, retry=None)
    assert await ids(small.client, "left") == [*sorted(acknowledged), "999999"]


async def test_what_was_acknowledged_before_the_disk_was_full_is_there_after_a_restart(small: Small) -> None:
    """And what was refused is not."""
    await small.leave(pages=200)
    acknowledged = await fill(small.client)
    await small.stop()

    await small.start()

    assert await ids(small.client, "left") == sorted(acknowledged)
    assert await ids(small.client, "right") == sorted(acknowledged)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit the files of a running process")
def test_a_disk_that_fails_is_unavailable_until_it_works_again(own: FirestoreProcess) -> None:
    """The client's own retries bring a write through once the disk takes it."""
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
