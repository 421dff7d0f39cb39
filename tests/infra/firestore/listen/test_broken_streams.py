"""Listeners of Google's client whose stream breaks in the middle of a snapshot.

The client keeps the changes of a broken stream, and applies them with the first snapshot of the next stream.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.cloud.firestore import Client

from infra.embedded.firestore import messages as m
from tests.infra.firestore.listen.listen_calls import write
from tests.infra.firestore.server_process import SERVICE, FirestoreProcess
from tests.stack import PATIENCE_SECONDS


class Connection:
    """Forwards Listen calls to a server. The stream can break directly after a document."""

    def __init__(self, firestore: FirestoreProcess) -> None:
        self._channel = grpc.insecure_channel(firestore.address)
        self._server = grpc.server(ThreadPoolExecutor(4))
        handler = grpc.stream_stream_rpc_method_handler(self._listen)
        service = SERVICE.strip("/")
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Listen": handler}),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        self._last = ""
        self._meanwhile: Callable[[], None] = lambda: None
        self._has_broken = threading.Event()

    def break_after(self, document_id: str, meanwhile: Callable[[], None]) -> None:
        """Break a stream when it has sent a document. Call `meanwhile` before the client listens again."""
        self._last, self._meanwhile = document_id, meanwhile
        self._has_broken.clear()

    def wait_until_broken(self) -> None:
        """Wait until the stream has broken."""
        assert self._has_broken.wait(PATIENCE_SECONDS)

    def _listen(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        call: Any = self._channel.stream_stream(f"{SERVICE}Listen")(requests)
        context.add_callback(call.cancel)
        for response in call:
            yield response
            name = m.ListenResponse.FromString(response).document_change.document.name
            if self._last and name.endswith(f"/{self._last}"):
                self._last = ""
                self._meanwhile()
                self._has_broken.set()
                context.abort(grpc.StatusCode.UNAVAILABLE, "The connection broke.")

    def close(self) -> None:
        """End all calls."""
        self._server.stop(None).wait()
        self._channel.close()


@pytest.fixture
def connection(firestore: FirestoreProcess) -> Iterator[Connection]:
    """A connection to the shared server."""
    connection = Connection(firestore)
    yield connection
    connection.close()


@pytest.fixture
def client(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Google's client, which uses the connection."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", connection.address)
    return Client(project="p")


class Listener:
    """A listener on a collection in the order of `n`."""

    def __init__(self, client: Client, collection: str, limit: int | None) -> None:
        self._snapshots: queue.SimpleQueue[list[tuple[str, int]]] = queue.SimpleQueue()
        query = client.collection(collection).order_by("n")
        self._watch: Any = (query.limit(limit) if limit else query).on_snapshot(self._add)

    def _add(self, documents: Any, *_: Any) -> None:
        self._snapshots.put([(each.id, each.get("n")) for each in documents])

    def wait_for(self, document_id: str, number: int) -> list[str]:
        """Wait for a snapshot with a document, and return the ids of its documents."""
        while True:
            snapshot = self._snapshots.get(timeout=PATIENCE_SECONDS)
            if (document_id, number) in snapshot:
                return [each for each, _ in snapshot]

    def close(self) -> None:
        """Stop listening."""
        self._watch.unsubscribe()


def test_a_document_of_a_broken_first_snapshot_that_is_deleted_does_not_appear(
    firestore: FirestoreProcess, connection: Connection, client: Client
) -> None:
    """The client has no resume token yet, so the next stream sends all documents. `a` is not one of them."""
    write(firestore, first__a=1, first__b=5)
    connection.break_after("a", lambda: write(firestore, first__a=None))

    listener = Listener(client, "first", None)

    assert listener.wait_for("b", 5) == ["b"]
    listener.close()


@pytest.mark.parametrize("limit", [None, 1])
def test_a_document_of_a_broken_snapshot_that_is_deleted_does_not_appear(
    firestore: FirestoreProcess, connection: Connection, client: Client, limit: int | None
) -> None:
    """Between the two resume tokens, `a` was created and deleted. With a limit, `b` left the result and returned."""
    collection = f"later{limit}"
    write(firestore, **{f"{collection}__a": None, f"{collection}__b": 5})
    listener = Listener(client, collection, limit)
    assert listener.wait_for("b", 5) == ["b"]

    connection.break_after("a", lambda: write(firestore, **{f"{collection}__a": None}))
    write(firestore, **{f"{collection}__a": 1})
    connection.wait_until_broken()
    write(firestore, **{f"{collection}__b": 6})

    assert listener.wait_for("b", 6) == ["b"]
    listener.close()
