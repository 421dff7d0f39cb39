"""Every call to the Firestore of FIRESTORE_EMULATOR_HOST carries the token that Google's emulator requires."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.cloud.firestore_v1.types import query

from storage.documents import Unavailable
from storage.firestore import channel, encoding
from storage.firestore.client import Firestore
from storage.firestore.database import Database
from storage.firestore.errors import FirestoreError
from storage.firestore.reads.page_reader import MIN_DOCUMENTS

SERVICE = "/google.firestore.v1.Firestore/"
QUERY: Any = query.StructuredQuery.pb()()


class Recorder(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Records the authorization of each call and refuses the call."""

    def __init__(self) -> None:
        self.authorizations: dict[str, str] = {}

    def service(self, call: Any) -> Any:
        """Serve one call of any method."""
        self.authorizations[call.method.removeprefix(SERVICE)] = dict(call.invocation_metadata)["authorization"]

        async def refuse(requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            del requests
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "on purpose")

        return grpc.stream_stream_rpc_method_handler(refuse)


@pytest.fixture
async def recorder(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Recorder]:
    """A server that FIRESTORE_EMULATOR_HOST selects."""
    recorder = Recorder()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((recorder,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{port}")
    yield recorder
    await server.stop(None)


async def listen(firestore: Firestore) -> None:
    """Open a Listen stream and read from it."""
    stream = firestore.listen()
    assert await stream.code() is grpc.StatusCode.PERMISSION_DENIED


CALLS: dict[str, Callable[[Firestore], Awaitable[object]]] = {
    "batch_write": lambda firestore: firestore.batch_write([encoding.to_write(firestore.name("a/b"), {})]),
    "commit": lambda firestore: firestore.commit([encoding.to_write(firestore.name("a/b"), {})]),
    "batch_get": lambda firestore: firestore.batch_get(["a/b"]),
    "batch_get_page": lambda firestore: firestore.batch_get_page([f"a/{number}" for number in range(MIN_DOCUMENTS)]),
    "document_ids": lambda firestore: firestore.document_ids("a"),
    "run_query": lambda firestore: anext(firestore.run_query("", QUERY)),
    "documents": lambda firestore: firestore.documents("", QUERY),
    "page": lambda firestore: firestore.page("", QUERY),
    "pages": lambda firestore: anext(firestore.pages("", QUERY, 1)),
    "encoded_page": lambda firestore: firestore.encoded_page("", QUERY, None),
    "count": lambda firestore: firestore.count("", QUERY),
    "now": lambda firestore: firestore.now(),
    "estimated_now": lambda firestore: firestore.estimated_now(),
    "ping": lambda firestore: firestore.ping(30),
    "check_writes": lambda firestore: firestore.check_writes(30),
    "listen": listen,
}
OTHERS = {"connect", "close", "name", "path", "wait_for_connection"}


async def test_every_method_of_the_client_sends_the_token(recorder: Recorder) -> None:
    """API, functions and commands call Firestore through these methods only."""
    methods = {name for name in vars(Database) | vars(Firestore) if not name.startswith("_")}
    assert methods - OTHERS == CALLS.keys()
    firestore = Firestore.connect(timeout_seconds=30)
    for name, call in CALLS.items():
        recorder.authorizations.clear()
        with contextlib.suppress(FirestoreError, Unavailable):
            await call(firestore)
        assert list(recorder.authorizations.values()) == ["Bearer owner"], name
    await firestore.close()


async def test_a_slow_handshake_is_not_interrupted(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection over a slow network takes longer than the pause between two attempts to connect."""
    responds = asyncio.Event()
    address, _, port = os.environ["FIRESTORE_EMULATOR_HOST"].partition(":")

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
        target.close()

    async def relay(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        server_source, server_target = await asyncio.open_connection(address, int(port))
        requests = asyncio.create_task(copy(source, server_target))
        await responds.wait()
        await asyncio.gather(requests, copy(server_source, target))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as proxy:
        proxy_port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{proxy_port}")
        firestore = Firestore.connect(timeout_seconds=30)
        with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):  # and not that the connection has failed
            await firestore.ping(0.5)
        responds.set()
        with pytest.raises(FirestoreError, match="on purpose"):
            await firestore.batch_get(["a/b"])
        await firestore.close()

    assert recorder.authorizations.keys() == {"BatchGetDocuments"}


def test_no_other_module_opens_a_channel_to_firestore() -> None:
    """A second place could forget the token."""
    modules = [path for folder in ("storage", "graphql_api", "triggers") for path in Path(folder).rglob("*.py")]

    assert [str(path) for path in modules if "_channel(" in path.read_text()] == ["storage/firestore/channel.py"]


def test_one_operation_is_processed_if_the_number_is_unknown() -> None:
    """A system can refuse the question. The next iteration of the event loop then processes the next operation."""
    processed = []
    with Path("/dev/null").open("rb") as source:
        channel._read_operations(cast(socket.socket, source), lambda: processed.append(1))

    assert processed == [1]
