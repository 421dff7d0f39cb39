"""A stack with small limits, and the parts of an API, shared by the tests of ingest."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc.aio
import pytest

from graphql_api.budgets.budgets import Budgets
from graphql_api.configuration.limits import Limits
from graphql_api.ingest.receiver import Receiver
from graphql_api.ingest.submitter_settings import SubmitterSettings
from graphql_api.ingest.uploads import Uploads
from graphql_api.results.deletion.deletion_store import DeletionStore
from graphql_api.results.store import Store
from storage.documents import Header, Retention, document_paths
from storage.documents.chunks import MAX_INLINE_BYTES
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import StructuredQuery
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.another_api import AnotherApi
from tests.infra.firestore.server_process import FirestoreProcess
from tests.stack import PATIENCE_SECONDS, Stack

WRITE_TIMEOUT_SECONDS = 2.0
SUBMITTER = "station"
SMALL = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}'
LARGE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%b1]}' % (b"1.25, " * (MAX_INLINE_BYTES // 5))


@pytest.fixture(scope="package")
def small_api(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnotherApi]:
    """An API with a short write timeout and a low limit of pending writes.

    It refuses none of 100 requests at the same time for another reason, however long a slow machine needs for them.
    """
    with AnotherApi(
        stack,
        tmp_path_factory.mktemp("small"),
        DROPZONE_WRITE_TIMEOUT_SECONDS=str(WRITE_TIMEOUT_SECONDS),
        DROPZONE_MAX_SAMPLE_MIB="8",
        DROPZONE_MAX_PENDING_WRITES_MIB="8",
        DROPZONE_MAX_UPLOADS_PER_SUBMITTER="1000",
        DROPZONE_KEY_CACHE_SECONDS="3600",
    ) as api:
        yield api


@dataclass(frozen=True)
class Api:
    """The parts of the API that store and delete samples."""

    firestore: Firestore
    writer: GroupCommitWriter
    receiver: Receiver
    store: Store
    deletions: DeletionStore
    uploads: Uploads

    async def submit(self, raw: bytes, key: str = "key", supersedes: str | None = None) -> Header:
        """Store a sample with an idempotency key."""
        sender: Any = SimpleNamespace(submitter=SUBMITTER, operator="", limits=None, label="key")
        return await self.receiver.receive(raw, sender=sender, idempotency_key=key, supersedes=supersedes)

    async def headers(self) -> dict[str, Header]:
        """Return the stored header of the sample with the key, if there is one."""
        return dict(await self.store.headers(SUBMITTER, [document_paths.keyed_sample_id(SUBMITTER, "key")]))

    async def expire(self, header: Header) -> None:
        """Set the time of expiry of a sample to the past. Firestore may delete the sample later."""
        name = self.firestore.name(document_paths.sample(SUBMITTER, header.id))
        write = encoding.to_write(name, {"expire_at": datetime.now(UTC) - timedelta(hours=5)})
        write.update_mask.field_paths.append("expire_at")
        await self.firestore.batch_write([write])

    async def erase(self, header: Header) -> None:
        """Delete the header of a sample without a tombstone, as an erasure does."""
        name = self.firestore.name(document_paths.sample(SUBMITTER, header.id))
        await self.firestore.batch_write([encoding.to_delete(name)])

    async def delete(self, header: Header) -> int:
        """Delete a sample. Return the number of samples that existed."""
        deleted, remaining = await self.deletions.delete(SUBMITTER, [header.id], "wrong")
        assert not remaining
        return deleted

    async def names(self, collection: str) -> list[str]:
        """Return the paths of the documents of a collection."""
        query = StructuredQuery(from_=[{"collection_id": collection, "all_descendants": True}])
        return [self.firestore.path(document.name) for document in await self.firestore.documents("", query)]

    async def wait_for_chunks(self, header: Header | None) -> None:
        """Wait until all uploads have ended. Then only the chunks of `header` are stored."""
        tasks: set[Any] = self.receiver._large_samples._tasks  # `get_coro` has no exact type
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*(task for task in tasks if task.get_coro().__name__ != "sweep_regularly"))
        assert await self.names("uploads") == []
        assert await self.names("chunks") == ([] if header is None else header.chunk_paths())


@contextmanager
def running_firestore(folder: Path, *program: str) -> Iterator[FirestoreProcess]:
    """Run a Firestore, or another program, in a folder. It has no time to live, so it deletes no expired sample."""
    indexes = folder / "indexes.json"
    indexes.write_text(Path("infra/gcp/firestore.indexes.json").read_text().replace('"ttl": true, ', ""))
    process = FirestoreProcess(folder, "--indexes", str(indexes))
    process.program = program or process.program
    process.start()
    try:
        yield process
    finally:
        process.close()


@pytest.fixture(scope="session")
def unexpiring_firestore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirestoreProcess]:
    """A Firestore without time to live. Each test has its own database in it."""
    with running_firestore(tmp_path_factory.mktemp("unexpiring")) as process:
        yield process


@pytest.fixture
async def api(unexpiring_firestore: FirestoreProcess) -> AsyncIterator[Api]:
    """An API without a function. Expired samples stay until a test ends."""
    async with opened_api(unexpiring_firestore) as opened:
        yield opened


@asynccontextmanager
async def opened_api(process: FirestoreProcess) -> AsyncIterator[Api]:
    """Open an API with an empty database of a Firestore."""
    async with grpc.aio.insecure_channel(process.address) as channel:
        firestore = Firestore(channel, f"projects/{uuid.uuid4()}/databases/(default)", timeout_seconds=30)
        writer = GroupCommitWriter(firestore, timeout_seconds=5)
        budgets = Budgets(Limits())
        store = Store(firestore, budgets.turns, shards=1)
        receiver = Receiver(
            firestore,
            writer,
            store.headers,
            SubmitterSettings(firestore, Retention()),
            max_sample_bytes=2**26,
            time_zone=None,
            shards=1,
            budgets=budgets,
        )
        deletions, uploads = DeletionStore(firestore, writer), Uploads(firestore, writer, store.headers)
        yield Api(firestore, writer, receiver, store, deletions, uploads)
        await receiver.close()
        await writer.close()


def before(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, act: Callable[..., Awaitable[object]]) -> None:
    """Call `act` once, directly before the next call of a method, with the same arguments."""
    method = getattr(owner, name)

    async def acted(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, name, method)
        await act(*arguments, **options)
        return await method(*arguments, **options)

    monkeypatch.setattr(owner, name, acted)
