"""Production's rates, kept to on request: what is too fast is ABORTED and not stored."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest
from google.api_core.exceptions import Aborted

from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.indexes.definitions import Definitions
from infra.embedded.firestore.indexes.index_registry import IndexRegistry
from infra.embedded.firestore.messages import BatchWriteRequest, BatchWriteResponse, Document
from infra.embedded.firestore.writes import rate_limits
from infra.embedded.firestore.writes.pending_document import PendingDocument
from infra.embedded.firestore.writes.rate_limits import RateLimits
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, write_indexes

OK, ABORTED = 0, 10
REQUEST_TIME = 1
BY_SHARD = {
    "collectionGroup": "samples",
    "queryScope": "COLLECTION",
    "fields": [{"fieldPath": "shard", "order": "ASCENDING"}, {"fieldPath": "at", "order": "DESCENDING"}],
}
EXEMPT = {"collectionGroup": "samples", "fieldPath": "at", "indexes": []}

Start = Callable[..., FirestoreProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server with options."""
    started: list[FirestoreProcess] = []

    def start(*options: str, indexes: list[object] | None = None) -> FirestoreProcess:
        file = write_indexes(tmp_path / "indexes.json", indexes or [], [EXEMPT] if indexes is not None else [])
        started.append(FirestoreProcess(tmp_path, "--indexes", str(file), "--create-indexes", *options))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.close()


def burst(firestore: FirestoreProcess, shards: range = range(1)) -> Counter[int]:
    """Write documents that hold the server's time, as fast as it goes; return how many ended with which code."""
    codes: Counter[int] = Counter()
    in_turn = cycle(shards)
    for number in range(10):  # the first ones show that the time grows
        codes.update(write(firestore, [(f"first-{number}", next(in_turn))]))
    for batch in range(4):
        codes.update(write(firestore, [(f"{batch}-{number}", next(in_turn)) for number in range(500)]))
    return codes


def write(firestore: FirestoreProcess, documents: list[tuple[str, int]]) -> list[int]:
    """Write documents, each for itself, in one call; return their codes."""
    request = BatchWriteRequest(database=DATABASE)
    for document_id, shard in documents:
        message = request.writes.add()
        message.update.name = f"{ROOT}/samples/{document_id}"
        message.update.fields["shard"].integer_value = shard
        message.update_transforms.add(field_path="at", set_to_server_value=REQUEST_TIME)
    return [status.code for status in firestore.call("BatchWrite", request, BatchWriteResponse).status]


def stored(firestore: FirestoreProcess) -> int:
    """Return how many samples there are."""
    return len(list(firestore.client().collection("samples").list_documents()))


def test_an_index_on_a_growing_field_takes_500_writes_a_second(start: Start) -> None:
    """A second's worth passes at once; what is refused is not stored, and passes later."""
    firestore = start("--rate-limits", "indexes")

    began = time.monotonic()
    codes = burst(firestore)
    most = 520 + 500 * (time.monotonic() - began)

    assert set(codes) == {OK, ABORTED}
    assert codes[OK] <= most
    assert stored(firestore) == codes[OK]
    deadline = time.monotonic() + 10
    while write(firestore, [("later", 0)]) == [ABORTED]:
        assert time.monotonic() < deadline


def test_a_composite_index_does_so_for_each_range_of_what_comes_before(start: Start) -> None:
    """One shard is throttled as without; eight others, of which none takes a second's worth, are not."""
    firestore = start("--rate-limits", "indexes", indexes=[BY_SHARD])

    one, eight = burst(firestore), burst(firestore, range(1, 9))

    assert one[ABORTED] > 0
    assert eight == {OK: 2010}


def test_an_exempt_field_takes_any_rate(start: Start) -> None:
    """Nothing else grows."""
    firestore = start("--rate-limits", "indexes", indexes=[])

    assert burst(firestore) == {OK: 2010}


def test_nothing_is_limited_unless_asked_for(start: Start) -> None:
    """It is as fast as the machine."""
    firestore = start()

    assert burst(firestore) == {OK: 2010}


def test_a_new_collection_takes_500_writes_a_second(start: Start) -> None:
    """Whatever is in it."""
    firestore = start("--rate-limits", "collections", indexes=[])

    began = time.monotonic()
    codes = burst(firestore)

    assert codes[ABORTED] > 0
    assert codes[OK] <= 510 + 500 * (time.monotonic() - began)


def test_a_document_takes_one_write_a_second(start: Start) -> None:
    """A few more pass at once; a commit is refused as a whole, in production's words."""
    firestore = start("--rate-limits", "indexes, documents")
    document = firestore.client().document("counters/one")

    began = time.monotonic()
    refused = None
    for number in range(100):
        try:
            document.set({"number": number}, retry=None)
        except Aborted as error:
            refused = error
            break

    assert refused is not None
    assert refused.message == "Too much contention on these documents. Please try again."
    written = document.get().get("number") + 1
    assert 5 <= written <= 6 + (time.monotonic() - began)


def test_a_rate_that_is_none_is_a_clear_message(tmp_path: Path) -> None:
    """With those that there are."""
    firestore = FirestoreProcess(tmp_path, "--rate-limits", "indexes,speed")

    with pytest.raises(AssertionError, match="unknown rate limit: speed; choose from indexes, collections, documents"):
        firestore.start()


def test_a_collection_grows_by_half_every_five_minutes() -> None:
    """By the clock, from its first write."""
    now = 0.0
    limited = RateLimits(IndexRegistry(Definitions()), [rate_limits.COLLECTIONS], lambda: now)

    passed = []
    for now in (0.0, 299.0, 300.0, 601.0):  # noqa: B007 (the clock reads it)
        passed.append(sum(passes(limited, number) for number in range(2_000)))

    assert passed == [500, 500, 750, 1125]


def passes(limited: RateLimits, number: int) -> bool:
    """Tell whether a new document passes."""
    full_name = f"{ROOT}/samples/{number}"
    name = resource_names.parse_document(full_name, DATABASE)
    try:
        limited.admit([PendingDocument(name, full_name, name.path, None, None, None, Document(name=full_name))])
    except StatusError:
        return False
    return True
