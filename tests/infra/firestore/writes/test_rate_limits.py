"""Enforced write rates: a write that exceeds production's rate is ABORTED and not stored.

A clock that the tests set refills the allowances, so every count is exact.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import Aborted

from infra.embedded.firestore.api.admin_endpoints import delete_all_documents
from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.indexes.definitions import Definitions
from infra.embedded.firestore.indexes.index_registry import IndexRegistry
from infra.embedded.firestore.messages import Document, Write
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write, rate_limits, time_to_live
from infra.embedded.firestore.writes.pending_document import PendingDocument
from infra.embedded.firestore.writes.rate_limits import RateLimits
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, write_indexes

OK, ABORTED = 0, 10
REQUEST_TIME = 1
BATCHES, BATCH_SIZE = 4, 500
WRITES_BEFORE_DETECTION = 4  # the fifth server time is the fourth that is later than the one before
BY_SHARD = {
    "collectionGroup": "samples",
    "queryScope": "COLLECTION",
    "fields": [{"fieldPath": "shard", "order": "ASCENDING"}, {"fieldPath": "at", "order": "DESCENDING"}],
}
EXEMPT = {"collectionGroup": "samples", "fieldPath": "at", "indexes": []}


class LimitedFile:
    """A file with enforced rates, and the clock of the rates in seconds."""

    def __init__(self, storage: Storage, clock: list[float]) -> None:
        self._storage = storage
        self._clock = clock

    def advance(self, seconds: float) -> None:
        """Set the clock forward."""
        self._clock[0] += seconds

    async def write(self, documents: list[tuple[str, int]]) -> list[int]:
        """Write documents with the server time, each independently in one batch. Return their status codes."""
        writes = []
        for document_id, shard in documents:
            message = Write(update=Document(name=f"{ROOT}/samples/{document_id}"))
            message.update.fields["shard"].integer_value = shard
            message.update_transforms.add(field_path="at", set_to_server_value=REQUEST_TIME)
            writes.append(document_write.prepare(message, DATABASE))
        outcomes = await self._storage.write(
            lambda group: commits.batch_write(group, writes, commits.no_conflicts),
        )
        return [OK if error is None else error.code_number for _, error in outcomes]

    async def burst(self, shards: range = range(1)) -> Counter[int]:
        """Write ten documents one by one and four batches of 500. Return the number of each status code."""
        codes: Counter[int] = Counter()
        in_turn = cycle(shards)
        for number in range(10):
            codes.update(await self.write([(f"{shards.start}-{number}", next(in_turn))]))
        for batch in range(BATCHES):
            ids = [f"{shards.start}-{batch}-{number}" for number in range(BATCH_SIZE)]
            codes.update(await self.write([(document_id, next(in_turn)) for document_id in ids]))
        return codes

    async def stored_count(self) -> int:
        """Return the number of documents in the file."""

        def count(connection: Any) -> int:
            (number,) = connection.execute("SELECT count(*) FROM documents").fetchone()
            return int(number)

        return await self._storage.read(count)


Open = Callable[..., Awaitable[LimitedFile]]


@pytest.fixture
async def limited_file(tmp_path: Path) -> AsyncIterator[Open]:
    """Open a file with rate limits; with `indexes`, the field that grows has no index of its own."""
    opened: list[Storage] = []

    async def open_file(*limits: str, indexes: list[object] | None = None) -> LimitedFile:
        file = write_indexes(tmp_path / "indexes.json", indexes or [], [EXEMPT] if indexes is not None else [])
        clock = [1_000.0]
        storage = Storage(
            tmp_path / "firestore.sqlite",
            definitions=definitions.read(file),
            admission=partial(RateLimits, limits=limits, clock=lambda: clock[0]) if limits else None,
        )
        opened.append(storage)
        return LimitedFile(storage, clock)

    yield open_file
    for storage in opened:
        await storage.close()


@pytest.mark.parametrize("expires", [False, True])
async def test_deletions_by_the_server_have_no_rate(tmp_path: Path, expires: bool) -> None:
    """Otherwise, expired documents would stay, and a deletion of all documents would report too many."""
    storage = Storage(
        tmp_path / "firestore.sqlite",
        definitions=definitions.Definitions(ttl_fields={"samples": ("at",)}),
        admission=partial(RateLimits, limits=rate_limits.LIMIT_NAMES, clock=lambda: 1_000.0),
    )
    file = LimitedFile(storage, [])
    try:
        codes = [code for _ in range(6) for code in await file.write([("often", 0)])]
        if expires:
            await time_to_live.delete_expired(storage, "samples", ("at",))
        else:
            assert await delete_all_documents(storage, DATABASE) == 1

        assert codes == [OK] * 5 + [ABORTED]
        assert await file.stored_count() == 0
    finally:
        await storage.close()


async def test_an_index_on_a_growing_field_accepts_500_writes_a_second(limited_file: Open) -> None:
    """A burst of one second's worth is stored. Refused writes are not stored, and later ones are accepted."""
    file = await limited_file(rate_limits.INDEXES)

    codes = await file.burst()
    stored = await file.stored_count()
    refused = await file.write([("later", 0)])
    file.advance(1)
    accepted = Counter(await file.write([(f"later-{number}", 0) for number in range(501)]))

    assert codes == {OK: WRITES_BEFORE_DETECTION + 500, ABORTED: 10 + 2_000 - WRITES_BEFORE_DETECTION - 500}
    assert stored == codes[OK]
    assert refused == [ABORTED]
    assert accepted == {OK: 500, ABORTED: 1}


async def test_a_composite_index_has_a_rate_for_each_prefix(limited_file: Open) -> None:
    """One shard is limited. Eight shards that stay below 500 writes each are not."""
    file = await limited_file(rate_limits.INDEXES, indexes=[BY_SHARD])

    one, eight = await file.burst(), await file.burst(range(1, 9))

    assert one == {OK: WRITES_BEFORE_DETECTION + 500, ABORTED: 10 + 2_000 - WRITES_BEFORE_DETECTION - 500}
    assert eight == {OK: 2_010}


async def test_an_exempt_field_has_no_rate(limited_file: Open) -> None:
    """No other field grows, so no index is limited."""
    file = await limited_file(rate_limits.INDEXES, indexes=[])

    assert await file.burst() == {OK: 2_010}


async def test_no_rate_is_enforced_by_default(limited_file: Open) -> None:
    """Without limits, every write is accepted."""
    file = await limited_file()

    assert await file.burst() == {OK: 2_010}


async def test_a_new_collection_accepts_500_writes_a_second(limited_file: Open) -> None:
    """The limit does not depend on the fields."""
    file = await limited_file(rate_limits.COLLECTIONS, indexes=[])

    codes = await file.burst()
    file.advance(1)
    accepted = Counter(await file.write([(f"later-{number}", 0) for number in range(501)]))

    assert codes == {OK: 500, ABORTED: 1_510}
    assert accepted == {OK: 500, ABORTED: 1}


async def test_a_document_accepts_one_sustained_write_a_second(limited_file: Open) -> None:
    """A burst of five is accepted, then one write for each second."""
    file = await limited_file(rate_limits.DOCUMENTS)

    burst = [(await file.write([("one", number)]))[0] for number in range(7)]
    file.advance(1)
    later = [(await file.write([("one", number)]))[0] for number in range(7, 9)]

    assert burst == [OK] * 5 + [ABORTED] * 2
    assert later == [OK, ABORTED]


def test_a_server_enforces_the_rates_of_its_command_line(tmp_path: Path) -> None:
    """A commit is refused as a whole, with production's message, and the burst before it is stored."""
    firestore = FirestoreProcess(tmp_path, "--rate-limits", "indexes, documents")
    firestore.start()
    try:
        document = firestore.client().document("counters/one")

        with pytest.raises(Aborted) as refused:
            set_repeatedly(document)

        assert refused.value.message == "Too much contention on these documents. Please try again."
        assert document.get().get("number") >= 4
    finally:
        firestore.close()


def set_repeatedly(document: Any) -> None:
    """Write a document until a write is refused."""
    for number in range(10_000):
        document.set({"number": number}, retry=None)


def test_an_unknown_rate_limit_is_refused_with_the_known_names(tmp_path: Path) -> None:
    """The server does not start."""
    firestore = FirestoreProcess(tmp_path, "--rate-limits", "indexes,speed")

    with pytest.raises(AssertionError, match="unknown rate limit: speed; choose from indexes, collections, documents"):
        firestore.start()


def test_the_rate_of_a_collection_grows_by_half_every_five_minutes() -> None:
    """The five minutes start with the first write to the collection."""
    now = 0.0
    limits = RateLimits(IndexRegistry(Definitions()), [rate_limits.COLLECTIONS], lambda: now)

    accepted = []
    for now in (0.0, 299.0, 300.0, 601.0):  # noqa: B007 - the clock reads it
        accepted.append(sum(is_accepted(limits, number) for number in range(2_000)))

    assert accepted == [500, 500, 750, 1125]


def is_accepted(limits: RateLimits, number: int) -> bool:
    """Return whether the limits accept a new document."""
    full_name = f"{ROOT}/samples/{number}"
    name = resource_names.parse_document(full_name, DATABASE)
    try:
        limits.admit([PendingDocument(name, full_name, name.path, None, None, None, Document(name=full_name))])
    except StatusError:
        return False
    return True
