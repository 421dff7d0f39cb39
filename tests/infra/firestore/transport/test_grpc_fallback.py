"""The embedded Firestore over `grpc.aio`, which serves if grpcio lacks the private interface of its core.

A wrapper removes one name of that interface before the server starts. Google's client then runs documents, queries,
transactions and listeners.
"""

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import firestore as library
from google.cloud.firestore import Client, CollectionReference, FieldFilter, Query, Transaction

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess, Requests

WITHOUT_CORE = (
    "-c",
    "from grpc._cython import cygrpc\n"
    "del cygrpc.ReceiveCloseOnServerOperation\n"
    "import runpy\n"
    "runpy.run_module('infra.embedded.firestore', run_name='__main__', alter_sys=True)\n",
)
DEADLINE_SECONDS = 30


@pytest.fixture(scope="module")
def fallback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirestoreProcess]:
    """A server whose grpcio lacks a name of the private interface."""
    process = FirestoreProcess(tmp_path_factory.mktemp("fallback"))
    process.program = WITHOUT_CORE
    process.start()
    yield process
    process.close()


@pytest.fixture(scope="module")
def client(fallback: FirestoreProcess) -> Client:
    """Google's client of the fallback server."""
    return fallback.client()


def test_the_fallback_is_logged_with_the_missing_name(fallback: FirestoreProcess) -> None:
    """An operator can see why the server is slower."""
    log = fallback.log.read_text()

    assert "WARNING" in log
    assert "ReceiveCloseOnServerOperation" in log
    assert "using grpc.aio instead" in log


def test_no_warning_is_logged_with_the_pinned_grpcio(firestore: FirestoreProcess) -> None:
    """The installed grpcio has the private interface, so the fast server runs."""
    assert "grpc.aio" not in firestore.log.read_text()


def test_documents_are_written_read_and_refused(collection: CollectionReference) -> None:
    """Create, update with a transform, delete, a precondition that fails and a missing document."""
    document = collection.document("x")
    document.create({"n": 1, "list": [1]})
    document.update({"n": library.Increment(2), "list": library.ArrayUnion([2])})
    found = document.get()

    with pytest.raises(exceptions.AlreadyExists, match="Document already exists: projects/p/"):
        document.create({})
    document.delete()

    assert found.to_dict() == {"n": 3, "list": [1, 2]}
    assert not document.get().exists


def test_a_batch_is_committed_and_read_back(client: Client, collection: CollectionReference) -> None:
    """500 writes in one commit, read by one BatchGetDocuments."""
    references = [collection.document(str(number)) for number in range(500)]
    batch = client.batch()
    for number, reference in enumerate(references):
        batch.set(reference, {"n": number})

    results = batch.commit()

    assert len(results) == 500
    assert sum(snapshot.get("n") for snapshot in client.get_all(references)) == sum(range(500))


@pytest.mark.parametrize("server", ["firestore", "fallback"])
def test_a_commit_of_over_10_mib_is_refused(request: pytest.FixtureRequest, server: str) -> None:
    """The largest request is 10 MiB. A commit that is slightly smaller succeeds."""
    client: Client = request.getfixturevalue(server).client()
    documents = [client.collection("large").document() for _ in range(11)]

    def commit(mib: float) -> None:
        batch = client.batch()
        for document in documents:
            batch.set(document, {"bytes": b"x" * int(mib * 2**20 / len(documents))})
        batch.commit()

    commit(9.9)
    with pytest.raises(exceptions.InvalidArgument, match="payload size exceeds the limit"):
        commit(10.1)


@pytest.mark.parametrize("server", ["firestore", "fallback"])
@pytest.mark.parametrize("method", ["GetDocument", "RunQuery", "Listen"])
def test_every_request_of_over_10_mib_is_refused(request: pytest.FixtureRequest, server: str, method: str) -> None:
    """Requests are handled on the event loop, so all other calls wait for a large one."""
    message = m.GetDocumentRequest(name="x" * (10 << 20)).SerializeToString()  # in all requests, field 1 is a string
    with grpc.insecure_channel(request.getfixturevalue(server).address) as channel:
        call = channel.stream_stream(f"/google.firestore.v1.Firestore/{method}")

        with pytest.raises(grpc.RpcError, match="payload size exceeds the limit: 10485760 bytes") as refused:
            list(call(iter([message])))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_queries_stream_their_results(collection: CollectionReference) -> None:
    """A filter, an order, a limit, a count, pages and a query that is refused."""
    for number in range(10):
        collection.document(str(number)).set({"n": number})
    query = collection.where(filter=FieldFilter("n", ">=", 3)).order_by("n", direction=Query.DESCENDING)

    assert [snapshot.get("n") for snapshot in query.limit(3).stream()] == [9, 8, 7]
    aggregation: Any = query.count()
    assert aggregation.get()[0][0].value == 7
    assert len(list(collection.list_documents(page_size=3))) == 10
    with pytest.raises(exceptions.InvalidArgument):
        list(collection.where(filter=FieldFilter("n", "in", [])).stream())


def test_contending_transactions_all_commit(fallback: FirestoreProcess, collection: CollectionReference) -> None:
    """Eight clients increment one counter, and no increment is lost."""
    collection.document("counter").set({"n": 0})

    def increment(client: Client) -> None:
        document = client.collection(collection.id).document("counter")

        @library.transactional
        def run(transaction: Transaction) -> None:
            transaction.update(document, {"n": document.get(transaction=transaction).get("n") + 1})

        run(client.transaction(max_attempts=20))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(increment, [fallback.client() for _ in range(8)]))

    assert collection.document("counter").get().get("n") == 8


def test_a_listener_receives_each_commit(collection: CollectionReference) -> None:
    """The first snapshot, a change and a deletion."""
    snapshots: queue.SimpleQueue[list[tuple[str, str]]] = queue.SimpleQueue()
    collection.document("a").set({"n": 1})
    watch: Any = collection.on_snapshot(
        lambda _, changes, __: snapshots.put([(change.type.name, change.document.id) for change in changes])
    )
    try:
        received = [snapshots.get(timeout=DEADLINE_SECONDS)]
        collection.document("b").set({"n": 2})
        received.append(snapshots.get(timeout=DEADLINE_SECONDS))
        collection.document("a").delete()
        received.append(snapshots.get(timeout=DEADLINE_SECONDS))
    finally:
        watch.unsubscribe()

    assert received == [[("ADDED", "a")], [("ADDED", "b")], [("REMOVED", "a")]]


def test_a_write_stream_commits_each_request(fallback: FirestoreProcess) -> None:
    """The client streams requests and closes the stream."""
    requests = Requests(m.WriteRequest(database=DATABASE))
    stream = fallback.converse("Write", requests, m.WriteRequest, m.WriteResponse)
    handshake = next(stream)
    write = m.Write()
    write.update.name = f"{ROOT}/stream/a"
    requests.send(m.WriteRequest(stream_token=handshake.stream_token, writes=[write]))
    response = next(stream)
    requests.send(None)

    assert response.HasField("commit_time")
    assert list(stream) == []


def test_errors_have_the_codes_of_the_service(fallback: FirestoreProcess) -> None:
    """UNIMPLEMENTED for what the service refuses, and for a method that does not exist."""
    calls: list[Callable[[], Any]] = [
        lambda: fallback.stream(
            "ExecutePipeline", m.ExecutePipelineRequest(database=DATABASE), m.ExecutePipelineResponse
        ),
        lambda: fallback.call("Unknown", m.CommitRequest(database=DATABASE), m.CommitResponse),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call()

        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_open_streams_end_with_unavailable_when_the_server_stops(own: FirestoreProcess) -> None:
    """Clients reconnect, and the process exits with code 0."""
    own.program = WITHOUT_CORE
    own.start()
    target = m.ListenRequest(database=DATABASE)
    target.add_target.target_id = 1
    target.add_target.documents.documents.append(f"{ROOT}/a/x")
    requests = Requests(target)
    call = own.converse("Listen", requests, m.ListenRequest, m.ListenResponse)
    next(call)

    code = own.end()

    with pytest.raises(grpc.RpcError) as ended:
        list(call)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert code == 0
    requests.send(None)
