"""Transactions among clients: who waits, who loses, and that nothing is lost."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.cloud import firestore as library
from google.cloud.firestore import CollectionReference, FieldFilter, Transaction

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess
from tests.infra.firestore.writes.transacting import ask, begin, commit, read, rollback, waits


def test_sixteen_clients_count_to_sixteen_in_no_time(firestore: FirestoreProcess) -> None:
    """Contenders take turns: nobody loses five times, and each is through in well under a second."""
    clients = [firestore.client() for _ in range(16)]
    counter = clients[0].document("contended/counter")
    counter.set({"n": 0})
    for each in clients:
        each.document("contended/warm-up").get()

    def increment(client: library.Client) -> float:
        @library.transactional
        def run(transaction: Transaction) -> None:
            document = client.document("contended/counter")
            transaction.update(document, {"n": document.get(transaction=transaction).get("n") + 1})

        started = time.monotonic()
        run(client.transaction())
        return time.monotonic() - started

    with ThreadPoolExecutor(16) as threads:
        slowest = max(threads.map(increment, clients))

    assert counter.get().get("n") == 16
    assert slowest < 3, "well under a second on an idle machine"


def test_a_plain_write_waits_for_a_transaction_that_has_read(firestore: FirestoreProcess) -> None:
    """It is not refused; it happens when the transaction has ended."""
    commit(firestore, None, "waiting/a", 1)
    transaction = begin(firestore)
    read(firestore, transaction, "waiting/a")

    thread, results = waits(lambda: commit(firestore, None, "waiting/a", 3))
    first = commit(firestore, transaction, "waiting/a", 2)
    thread.join(10)

    assert m.microseconds(results[0].commit_time) > m.microseconds(first.commit_time)


def test_a_document_that_is_missing_is_protected_too(firestore: FirestoreProcess) -> None:
    """Nobody else creates what a transaction found missing before it has ended."""
    transaction = begin(firestore)
    assert read(firestore, transaction, "absent/a") == [False]

    thread, _ = waits(lambda: commit(firestore, None, "absent/a", 1))
    rollback(firestore, transaction)
    thread.join(10)

    assert not thread.is_alive()


def test_what_a_query_would_find_is_protected_and_nothing_else(firestore: FirestoreProcess) -> None:
    """A write outside of the range goes through at once, one inside of it waits."""
    commit(firestore, None, "ranges/a", 5)
    transaction = begin(firestore)
    assert ask(firestore, transaction, "ranges", least=5) == 1

    commit(firestore, None, "ranges/outside", 1)
    thread, _ = waits(lambda: commit(firestore, None, "ranges/inside", 7))
    rollback(firestore, transaction)
    thread.join(10)

    assert not thread.is_alive()


def test_a_limit_protects_only_as_far_as_it_reached(firestore: FirestoreProcess) -> None:
    """What comes behind the last result may be written."""
    for number in (1, 2, 3):
        commit(firestore, None, f"limited/{number}", number)
    transaction = begin(firestore)
    assert ask(firestore, transaction, "limited", least=1, limit=1) == 1

    commit(firestore, None, "limited/4", 4)

    rollback(firestore, transaction)


def test_of_two_that_wait_for_each_other_the_younger_loses_at_once(firestore: FirestoreProcess) -> None:
    """A deadlock is found, not waited for; the loser's locks are gone without a rollback."""
    older, younger = begin(firestore), begin(firestore)
    for transaction in (older, younger):
        read(firestore, transaction, "deadlock/a")

    thread, results = waits(lambda: commit(firestore, older, "deadlock/a", 1))
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as lost:
        commit(firestore, younger, "deadlock/a", 2)
    thread.join(10)

    assert lost.value.code() is grpc.StatusCode.ABORTED
    assert time.monotonic() - started < 5
    assert results[0].HasField("commit_time")
    rollback(firestore, younger)


def test_an_optimistic_transaction_locks_nothing_and_loses_if_late(firestore: FirestoreProcess) -> None:
    """Others write at once; then its commit is ABORTED."""
    commit(firestore, None, "optimistic/a", 1)
    transaction = begin(firestore, optimistic=True)
    read(firestore, transaction, "optimistic/a")
    commit(firestore, None, "optimistic/a", 2)

    with pytest.raises(grpc.RpcError) as lost:
        commit(firestore, transaction, "optimistic/a", 3)

    assert lost.value.code() is grpc.StatusCode.ABORTED


def test_an_optimistic_transaction_loses_to_what_its_query_would_now_find(firestore: FirestoreProcess) -> None:
    """Documents that were not there when it asked count as well."""
    transaction = begin(firestore, optimistic=True)
    assert ask(firestore, transaction, "phantoms", least=5) == 0
    commit(firestore, None, "phantoms/a", 5)

    with pytest.raises(grpc.RpcError) as lost:
        commit(firestore, transaction, "elsewhere/a", 3)

    assert lost.value.code() is grpc.StatusCode.ABORTED


def test_a_read_only_transaction_sees_one_moment_and_may_not_write(firestore: FirestoreProcess) -> None:
    """Even while others write what it reads."""
    request = m.BeginTransactionRequest(database=DATABASE)
    request.options.read_only.SetInParent()
    transaction = firestore.call("BeginTransaction", request, m.BeginTransactionResponse).transaction
    commit(firestore, None, "read_only/a", 1)

    assert read(firestore, transaction, "read_only/a") == [False]
    with pytest.raises(grpc.RpcError, match="Cannot modify entities in a read-only transaction"):
        commit(firestore, transaction, "read_only/a", 2)


def test_a_transaction_that_has_ended_is_not_known_any_more(firestore: FirestoreProcess) -> None:
    """Rolling it back again is all right, committing is not."""
    transaction = begin(firestore)
    commit(firestore, transaction, "ended/a", 1)
    rollback(firestore, transaction)

    with pytest.raises(grpc.RpcError, match="expired or is no longer valid") as refused:
        commit(firestore, transaction, "ended/a", 2)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_workers_that_take_the_first_of_a_queue_take_each_once(
    firestore: FirestoreProcess, collection: CollectionReference
) -> None:
    """Transactions with a query and a write behind it: no item is lost or taken twice."""
    for number in range(12):
        collection.document(str(number)).set({"n": number, "free": True})
    taken: list[str] = []

    def work(_: int) -> None:
        client = firestore.client()
        items = client.collection(collection.id)

        @library.transactional
        def take(transaction: Transaction) -> str | None:
            query = items.where(filter=FieldFilter("free", "==", True)).limit(1)
            for found in query.stream(transaction=transaction):
                transaction.update(found.reference, {"free": False})
                return str(found.id)
            return None

        while (item := take(client.transaction(max_attempts=50))) is not None:
            taken.append(item)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))

    assert sorted(taken, key=int) == [str(number) for number in range(12)]


def test_a_read_that_waits_its_turn_when_its_transaction_is_rolled_back_locks_nothing(
    firestore: FirestoreProcess,
) -> None:
    """It is refused at once, and the document can be written to afterwards."""
    holder, queued = begin(firestore), begin(firestore)
    read(firestore, holder, "rolled-back/queued")
    writing, written = waits(lambda: commit(firestore, None, "rolled-back/queued", 1))
    refusals: list[grpc.StatusCode] = []
    reading, _ = waits(lambda: refused(refusals, lambda: read(firestore, queued, "rolled-back/queued")))

    rollback(firestore, queued)
    reading.join(5)
    rollback(firestore, holder)
    writing.join(5)

    assert refusals == [grpc.StatusCode.INVALID_ARGUMENT]
    assert len(written) == 1
    commit(firestore, None, "rolled-back/queued", 2)


def test_a_commit_that_waits_when_its_transaction_is_rolled_back_writes_nothing(firestore: FirestoreProcess) -> None:
    """And nobody has to wait for it any more."""
    holder, waiting = begin(firestore), begin(firestore)
    read(firestore, holder, "rolled-back/waiting")
    refusals: list[grpc.StatusCode] = []
    committing, _ = waits(
        lambda: refused(refusals, lambda: commit(firestore, waiting, "rolled-back/waiting", 1)),
    )

    rollback(firestore, waiting)
    rollback(firestore, holder)
    committing.join(5)

    assert refusals == [grpc.StatusCode.INVALID_ARGUMENT]
    assert read(firestore, begin(firestore), "rolled-back/waiting") == [False]


def refused(refusals: list[grpc.StatusCode], call: Callable[[], Any]) -> None:
    """Make a call that is to fail and note its code."""
    with pytest.raises(grpc.RpcError) as refusal:
        call()
    refusals.append(refusal.value.code())


def test_a_query_that_begins_a_transaction_says_so_by_itself_and_first(firestore: FirestoreProcess) -> None:
    """Each document comes with its read time; a frame with nothing but that comes only if there is no document."""
    commit(firestore, None, "frames/a", 1)
    commit(firestore, None, "frames/b", 2)
    request = m.RunQueryRequest(parent=ROOT)
    request.new_transaction.read_only.SetInParent()
    request.structured_query.from_.add(collection_id="frames")
    request.structured_query.offset = 1

    some = firestore.stream("RunQuery", request, m.RunQueryResponse)
    request.structured_query.offset = 9
    none = firestore.stream("RunQuery", request, m.RunQueryResponse)

    assert [_parts(frame) for frame in some] == [["transaction"], ["document", "read_time", "skipped_results"]]
    assert [_parts(frame) for frame in none] == [["transaction"], ["read_time"]]


def _parts(frame: Any) -> list[str]:
    return sorted(field.name for field, _ in frame.ListFields())


@pytest.mark.parametrize("optimistic", [False, True])
def test_a_collection_may_be_listed_page_by_page(firestore: FirestoreProcess, optimistic: bool) -> None:
    """What was written before the first page is in no page's way."""
    for number in range(3):
        commit(firestore, None, f"listed-{optimistic}/{number}", 0)
    transaction = begin(firestore, optimistic)
    request = m.ListDocumentsRequest(parent=ROOT, collection_id=f"listed-{optimistic}", page_size=1)
    request.transaction = transaction

    listed: list[str] = []
    while not listed or request.page_token:
        page = firestore.call("ListDocuments", request, m.ListDocumentsResponse)
        listed += [document.name.rpartition("/")[2] for document in page.documents]
        request.page_token = page.next_page_token
    commit(firestore, transaction, f"listed-{optimistic}/3", 0)

    assert listed == ["0", "1", "2"]
