"""The command that verifies what is stored reports no problem of samples that change meanwhile, or that expire."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest

from storage.documents import Header, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document
from tests.received import received_sample, stored_documents
from tests.triggers.audit.conftest import Database
from triggers.verify.verifier import Verifier

LARGE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%s]}' % b", ".join([b"0.123456789"] * 100_000)


class ChangingFirestore(Firestore):
    """A client that waits for `change` before its first read of results, which follows the read of the headers."""

    change: Callable[[], Awaitable[None]] | None = None

    async def batch_get(
        self, paths: Iterable[str], *, mask: Collection[str] = (), read_time: datetime | None = None
    ) -> dict[str, Document]:
        """Read documents."""
        if self.change is not None:
            change, self.change = self.change, None
            await change()
        return await super().batch_get(paths, mask=mask, read_time=read_time)


@pytest.fixture
def database(channel: grpc.aio.Channel) -> Database:
    """An empty database."""
    return Database(channel)


def changing(database: Database, channel: grpc.aio.Channel, change: Callable[[], Awaitable[None]]) -> Firestore:
    """Return a client of `database` that calls `change` between two reads."""
    firestore = ChangingFirestore(channel, database.firestore.database, timeout_seconds=30)
    firestore.change = change
    return firestore


async def verified(firestore: Firestore) -> tuple[list[str], int, int]:
    """Return the problems, and the numbers of verified samples and results."""
    verifier = Verifier(firestore, None, 1_000)
    problems = [problem async for problem in verifier.problems()]
    return problems, verifier.totals.samples, verifier.totals.results


async def recompute(database: Database, sample: Header) -> None:
    """Write the header and the result of a sample again."""
    path = document_paths.sample("one", sample.id)
    requested = {"recompute_requested_at": datetime.now(UTC)}
    written = await database.writer.write(encoding.to_partial_write(database.firestore.name(path), requested))
    await database.compute([sample], sample_update_time=encoding.to_datetime(written.update_time))


async def test_a_sample_that_is_recomputed_between_two_reads_has_no_problem(
    database: Database, channel: grpc.aio.Channel
) -> None:
    """It is verified again, and counted once."""
    samples = await database.submit("one", 2)
    await database.compute(samples)

    assert await verified(changing(database, channel, lambda: recompute(database, samples[0]))) == ([], 2, 2)


async def test_a_sample_that_is_deleted_between_two_reads_has_no_problem(
    database: Database, channel: grpc.aio.Channel
) -> None:
    """Its chunks are missing when they are read. The sample is not counted."""
    paths = await store_large(database)

    async def delete() -> None:
        await database.writer.write_all([encoding.to_delete(database.firestore.name(path)) for path in paths])

    assert await verified(changing(database, channel, delete)) == ([], 0, 0)


async def test_an_expired_sample_has_no_problem(database: Database) -> None:
    """Firestore has deleted its chunks first. Without a time of expiry, the same sample is damaged."""
    expired, kept = [
        (await store_large(database, expire_at=time))[:-1] for time in (datetime.now(UTC) - timedelta(hours=2), None)
    ]
    chunks = [encoding.to_delete(database.firestore.name(path)) for path in expired + kept]
    await database.writer.write_all(chunks)

    problems, samples, _ = await verified(database.firestore)

    assert samples == 1
    assert [problem.partition(":")[0] for problem in problems] == [kept[0].partition("/chunks/")[0]]


class FastClock(Firestore):
    """A client of a Firestore whose clock is one hour later at each read."""

    reads = 0

    async def estimated_now(self) -> datetime:
        """Return a later time."""
        self.reads += 1
        return datetime.now(UTC) + timedelta(hours=self.reads)


async def test_a_sample_that_expires_while_it_is_verified_has_no_problem(
    database: Database, channel: grpc.aio.Channel
) -> None:
    """Firestore has deleted its chunks first. The sample is not counted."""
    *chunks, _ = await store_large(database, expire_at=datetime.now(UTC) + timedelta(hours=1.5))
    await database.writer.write_all([encoding.to_delete(database.firestore.name(path)) for path in chunks])
    firestore = FastClock(channel, database.firestore.database, timeout_seconds=30)

    assert await verified(firestore) == ([], 0, 0)
    assert firestore.reads > 1


async def store_large(database: Database, **changes: Any) -> list[str]:
    """Store a sample in chunks, with `changes` in its header. Return the paths of its documents, the header last."""
    sample = received_sample(LARGE, submitter="one")
    for name, value in changes.items():
        setattr(sample.header, name, value)
    documents = list(stored_documents(sample))
    for path, fields in documents:
        await database.writer.write(encoding.to_write(database.firestore.name(path), fields))
    return [path for path, _ in documents]
