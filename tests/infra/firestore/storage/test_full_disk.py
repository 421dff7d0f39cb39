"""A full or failing disk: writes are rejected, acknowledged documents stay, and writes work again afterwards."""

import asyncio
import os
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from google.api_core.exceptions import GoogleAPICallError, ResourceExhausted, ServiceUnavailable
from google.cloud.firestore import AsyncClient, Client

from infra.embedded.firestore.api.firestore_server import FirestoreServer
from infra.embedded.firestore.data_file.file_format import UnusableFile
from infra.embedded.firestore.storage.disk_health import DiskHealth
from infra.embedded.firestore.storage.storage import Storage
from tests.infra.firestore.server_process import FirestoreProcess
from tests.ports import free_port
from tests.stack import eventually

TEXT = "x" * 20_000


class LimitedServer:
    """A server in this process whose file can be limited in size."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def start(self) -> None:
        """Open the file and serve it."""
        self._storage = Storage(self._path)
        self._connection = await self._storage.execute(lambda connection: connection)
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

    async def set_read_only(self, is_read_only: bool) -> None:
        """Let SQLite refuse all writes of the writer's connection, as it does for a file without write permission."""
        await asyncio.to_thread(self._connection.execute, f"PRAGMA query_only = {is_read_only:d}")

    @property
    def health(self) -> DiskHealth:
        """Whether commits succeed."""
        return self._storage.health


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


async def test_a_read_only_data_file_refuses_writes_with_the_reason(small: LimitedServer) -> None:
    """Reads still work. Writes work again as soon as the file is writable, which the server notices by itself."""
    await small.client.document("left/first").set({"n": 1})
    await small.set_read_only(True)

    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match="The data file is read-only; nothing was written"):
            await small.client.document("left/refused").set({"n": 2}, retry=None)
    found = await ids(small.client, "left")
    problem = small.health.problem
    await small.set_read_only(False)
    await asyncio.to_thread(eventually, lambda: small.health.problem is None)
    await small.client.document("left/second").set({"n": 3}, retry=None)

    assert found == ["first"]
    assert problem == "The data file is read-only; nothing was written."
    assert small.health.failed_writes == 2
    assert await ids(small.client, "left") == ["first", "second"]


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


class SmallDisk:
    """A file system of its own. `use` allocates all of its free space."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rest = folder / "rest"
        self._rest.touch()

    def use(self) -> None:
        """Use the free space to the last byte."""
        with self._rest.open("ab", 0) as rest:
            try:
                while True:
                    rest.write(bytes(4096))
            except OSError:
                return

    def free(self, size: int) -> None:
        """Give some of the used space back."""
        os.truncate(self._rest, self._rest.stat().st_size - size)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 160 MiB, as a mounted tmpfs."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root on Linux can mount a file system")
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk_server(disk: SmallDisk, tmp_path: Path) -> Iterator[FirestoreProcess]:
    """A server on that disk, with HTTP endpoints. Its log is on another disk."""
    server = FirestoreProcess(disk.folder, f"--http-port={free_port()}")
    server.log = tmp_path / "log"
    yield server
    server.close()


def readiness(server: FirestoreProcess) -> int:
    """Return the status of `/readyz`."""
    return httpx.get(f"http://127.0.0.1:{server.options[0].partition('=')[2]}/readyz", timeout=30).status_code


def write_until_refused(client: Client, prefix: str) -> list[str]:
    """Write documents until one is refused; return the ids of the others."""
    written: list[str] = []
    try:
        while True:
            document = client.document(f"{prefix}/{len(written):06}")
            document.set({"data": os.urandom(100_000)}, retry=None)
            written.append(document.id)
    except ResourceExhausted:
        return written


def can_write(client: Client) -> bool:
    """Return whether a large write succeeds now.

    Documents of 100 kB need 30 to 39 pages. After one was refused, there can be space for another that needs fewer.
    """
    try:
        client.document("probe/one").set({"data": os.urandom(400_000)}, retry=None)
    except GoogleAPICallError:
        return False
    return True


def test_a_full_disk_is_reported_and_every_freed_byte_is_usable(
    disk: SmallDisk, small_disk_server: FirestoreProcess
) -> None:
    """The log is longer than the freed space, so a checkpoint would use this space and fail."""
    server = small_disk_server
    server.start()
    client = server.client()
    disk.use()
    disk.free(100 * 2**20)

    written = write_until_refused(client, "first")
    for _ in range(200):
        assert not can_write(client)
    status = readiness(server)
    lines = server.log.read_text().splitlines()
    disk.free(5 * 2**20)
    eventually(lambda: readiness(server) == 200, server.log.read_text)

    assert len(written) > 300
    assert status == 503
    assert len(lines) < 6, lines
    assert can_write(client)
    assert [found.id for found in client.collection("first").select([]).stream()] == written


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_starts_on_a_full_disk(disk: SmallDisk, small_disk_server: FirestoreProcess, number: int) -> None:
    """It serves reads and refuses writes. Writes work again as soon as there is space."""
    server = small_disk_server
    server.start()
    client = server.client()
    client.document("a/b").set({"n": 1})
    server.end(number)
    disk.use()

    server.start()

    write_until_refused(client, "more")
    assert readiness(server) == 503
    assert client.document("a/b").get().to_dict() == {"n": 1}
    disk.free(20 * 2**20)
    eventually(lambda: readiness(server) == 200, server.log.read_text)
    assert can_write(client)


async def test_a_file_that_cannot_be_opened_for_another_reason_is_not_a_full_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For example, a write-ahead log can belong to another user. The log said that the disk had no space."""
    path = tmp_path / "data.sqlite"
    await Storage(path).close()
    path.with_name(f"{path.name}-shm").mkdir()

    with pytest.raises(UnusableFile, match=r"data\.sqlite cannot be opened: "):
        Storage(path)

    assert caplog.messages == []
