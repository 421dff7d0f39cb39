"""Concurrent transactions: which one waits, which one is aborted, and that no update is lost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.cloud import firestore as library
from google.cloud.firestore import CollectionReference, FieldFilter, Transaction

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess
from tests.infra.firestore.writes.transaction_calls import begin, commit, query, read, rollback, start_blocked

CLIENTS = 16
JOIN_SECONDS = 30


def test_sixteen_clients_increment_a_counter_without_retrying_much(firestore: FirestoreProcess) -> None:
    """Contenders take turns, so each transaction needs few of the five attempts that the client makes."""
    clients = [firestore.client() for _ in range(CLIENTS)]
    counter = clients[0].document("contended/counter")
    counter.set({"n": 0})
    for each in clients:
        each.document("contended/warm-up").get()

    def increment(client: library.Client) -> int:
        attempts = 0

        @library.transactional
        def run(transaction: Transaction) -> None:
            nonlocal attempts
            attempts += 1
            document = client.document("contended/counter")
            transaction.update(document, {"n": document.get(transaction=transaction).get("n") + 1})

        run(client.transaction())
        return attempts

    with ThreadPoolExecutor(CLIENTS) as threads:
        attempts = list(threads.map(increment, clients))

    assert counter.get().get("n") == CLIENTS
    assert max(attempts) <= 3, attempts


def test_a_write_waits_for_a_transaction_that_has_read_the_document(firestore: FirestoreProcess) -> None:
    """It is stored after the transaction has ended."""
    commit(firestore, None, "waiting/a", 1)
    transaction = begin(firestore)
    read(firestore, transaction, "waiting/a")

    thread, results = start_blocked(firestore, lambda: commit(firestore, None, "waiting/a", 3))
    first = commit(firestore, transaction, "waiting/a", 2)
    thread.join(JOIN_SECONDS)

    assert m.microseconds(results[0].commit_time) > m.microseconds(first.commit_time)


def test_a_missing_document_is_locked(firestore: FirestoreProcess) -> None:
    """A document that a transaction found missing is created only after the transaction has ended."""
    transaction = begin(firestore)
    assert read(firestore, transaction, "absent/a") == [False]

    thread, _ = start_blocked(firestore, lambda: commit(firestore, None, "absent/a", 1))
    rollback(firestore, transaction)
    thread.join(JOIN_SECONDS)

    assert not thread.is_alive()


def test_a_rollback_ends_only_a_transaction_of_its_database(firestore: FirestoreProcess) -> None:
    """The id of a transaction is unknown in another database."""
    transaction = begin(firestore)
    firestore.call("Rollback", m.RollbackRequest(database=f"{DATABASE}-2", transaction=transaction), m.Empty)

    assert read(firestore, transaction, "kept/a") == [False]


def test_a_query_locks_its_range(firestore: FirestoreProcess) -> None:
    """A write outside of the range is stored at once. A write inside waits."""
    commit(firestore, None, "ranges/a", 5)
    transaction = begin(firestore)
    assert query(firestore, transaction, "ranges", minimum=5) == 1

    commit(firestore, None, "ranges/outside", 1)
    thread, _ = start_blocked(firestore, lambda: commit(firestore, None, "ranges/inside", 7))
    rollback(firestore, transaction)
    thread.join(JOIN_SECONDS)

    assert not thread.is_alive()


def test_a_list_with_missing_documents_locks_the_collection_and_its_subcollections(firestore: FirestoreProcess) -> None:
    """A document beneath the collection can add a missing document to the list. Other collections are not locked."""
    commit(firestore, None, "listed/a/beneath/b", 1)
    transaction = begin(firestore)
    request = m.ListDocumentsRequest(parent=ROOT, collection_id="listed", show_missing=True, transaction=transaction)
    assert len(firestore.call("ListDocuments", request, m.ListDocumentsResponse).documents) == 1

    commit(firestore, None, "listed-not/a", 1)
    thread, _ = start_blocked(firestore, lambda: commit(firestore, None, "listed/c/beneath/d", 1))
    rollback(firestore, transaction)
    thread.join(JOIN_SECONDS)

    assert not thread.is_alive()


def test_a_limited_query_locks_up_to_its_last_result(firestore: FirestoreProcess) -> None:
    """Documents after the last result can be written."""
    for number in (1, 2, 3):
        commit(firestore, None, f"limited/{number}", number)
    transaction = begin(firestore)
    assert query(firestore, transaction, "limited", minimum=1, limit=1) == 1

    commit(firestore, None, "limited/4", 4)

    rollback(firestore, transaction)


def test_a_deadlock_aborts_the_younger_transaction(firestore: FirestoreProcess) -> None:
    """The deadlock is detected: a timeout would abort the older transaction first, because that waits for longer."""
    older, younger = begin(firestore), begin(firestore)
    for transaction in (older, younger):
        read(firestore, transaction, "deadlock/a")

    thread, results = start_blocked(firestore, lambda: commit(firestore, older, "deadlock/a", 1))
    with pytest.raises(grpc.RpcError) as aborted:
        commit(firestore, younger, "deadlock/a", 2)
    thread.join(JOIN_SECONDS)

    assert aborted.value.code() is grpc.StatusCode.ABORTED
    assert results[0].HasField("commit_time"), "the aborted transaction released its locks without a rollback"
    rollback(firestore, younger)


def test_a_read_only_transaction_reads_at_one_time_and_cannot_write(firestore: FirestoreProcess) -> None:
    """Later writes of other clients are not visible to it."""
    request = m.BeginTransactionRequest(database=DATABASE)
    request.options.read_only.SetInParent()
    transaction = firestore.call("BeginTransaction", request, m.BeginTransactionResponse).transaction
    commit(firestore, None, "read_only/a", 1)

    assert read(firestore, transaction, "read_only/a") == [False]
    with pytest.raises(grpc.RpcError, match="Cannot modify entities in a read-only transaction"):
        commit(firestore, transaction, "read_only/a", 2)


def test_a_committed_transaction_cannot_commit_again(firestore: FirestoreProcess) -> None:
    """A rollback after the commit is accepted."""
    transaction = begin(firestore)
    commit(firestore, transaction, "ended/a", 1)
    rollback(firestore, transaction)

    with pytest.raises(grpc.RpcError, match="expired or is no longer valid") as refused:
        commit(firestore, transaction, "ended/a", 2)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_workers_claim_each_item_of_a_queue_once(firestore: FirestoreProcess, collection: CollectionReference) -> None:
    """Each transaction queries the first free item and updates it. No item is lost or claimed twice."""
    for number in range(12):
        collection.document(str(number)).set({"n": number, "free": True})
    claimed: list[str] = []

    def work(_: int) -> None:
        client = firestore.client()
        items = client.collection(collection.id)

        @library.transactional
        def claim(transaction: Transaction) -> str | None:
            query = items.where(filter=FieldFilter("free", "==", True)).limit(1)
            for found in query.stream(transaction=transaction):
                transaction.update(found.reference, {"free": False})
                return str(found.id)
            return None

        while (item := claim(client.transaction(max_attempts=50))) is not None:
            claimed.append(item)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))

    assert sorted(claimed, key=int) == [str(number) for number in range(12)]


def test_a_queued_read_is_refused_when_its_transaction_is_rolled_back(
    firestore: FirestoreProcess,
) -> None:
    """It leaves no lock, so the document can be written afterwards."""
    holder, queued = begin(firestore), begin(firestore)
    read(firestore, holder, "rolled-back/queued")
    writing, written = start_blocked(firestore, lambda: commit(firestore, None, "rolled-back/queued", 1))
    refusals: list[grpc.StatusCode] = []
    reading, _ = start_blocked(
        firestore, lambda: refused(refusals, lambda: read(firestore, queued, "rolled-back/queued"))
    )

    rollback(firestore, queued)
    reading.join(JOIN_SECONDS)
    rollback(firestore, holder)
    writing.join(JOIN_SECONDS)

    assert refusals == [grpc.StatusCode.INVALID_ARGUMENT]
    assert len(written) == 1
    commit(firestore, None, "rolled-back/queued", 2)


def test_a_waiting_commit_is_refused_when_its_transaction_is_rolled_back(firestore: FirestoreProcess) -> None:
    """It writes nothing, and later transactions do not wait for it."""
    holder, waiting = begin(firestore), begin(firestore)
    read(firestore, holder, "rolled-back/waiting")
    refusals: list[grpc.StatusCode] = []
    committing, _ = start_blocked(
        firestore,
        lambda: refused(refusals, lambda: commit(firestore, waiting, "rolled-back/waiting", 1)),
    )

    rollback(firestore, waiting)
    rollback(firestore, holder)
    committing.join(JOIN_SECONDS)

    assert refusals == [grpc.StatusCode.INVALID_ARGUMENT]
    assert read(firestore, begin(firestore), "rolled-back/waiting") == [False]


def refused(refusals: list[grpc.StatusCode], call: Callable[[], Any]) -> None:
    """Make a call that is refused, and record its status code."""
    with pytest.raises(grpc.RpcError) as refusal:
        call()
    refusals.append(refusal.value.code())


def test_a_query_returns_its_new_transaction_in_the_first_response(firestore: FirestoreProcess) -> None:
    """Each document has its read time. A response with a read time alone is sent only if no document matches."""
    commit(firestore, None, "frames/a", 1)
    commit(firestore, None, "frames/b", 2)
    request = m.RunQueryRequest(parent=ROOT)
    request.new_transaction.read_only.SetInParent()
    request.structured_query.from_.add(collection_id="frames")
    request.structured_query.offset = 1

    some = firestore.stream("RunQuery", request, m.RunQueryResponse)
    request.structured_query.offset = 9
    none = firestore.stream("RunQuery", request, m.RunQueryResponse)

    assert [_field_names(response) for response in some] == [
        ["transaction"],
        ["document", "read_time", "skipped_results"],
    ]
    assert [_field_names(response) for response in none] == [["transaction"], ["read_time"]]


def _field_names(response: Any) -> list[str]:
    return sorted(field.name for field, _ in response.ListFields())


@pytest.mark.parametrize("optimistic", [False, True])
def test_a_transaction_can_list_a_collection_page_by_page(firestore: FirestoreProcess, optimistic: bool) -> None:
    """Writes before the first page do not conflict with it."""
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
