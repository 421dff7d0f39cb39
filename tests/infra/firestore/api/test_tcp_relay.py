"""The TCP port of the stack's Firestore, which is relayed to the Unix socket of gRPC."""

import asyncio
import os
import queue
import select
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from google.api_core.retry import Retry

from infra.embedded.firestore.api.tcp_relay import MAX_CONNECTIONS, TcpRelay
from tests.stack import PATIENCE_SECONDS, Stack, eventually


def test_googles_client_uses_the_port(stack: Stack) -> None:
    """Large requests and responses, and a stream that stays open."""
    collection = stack.firestore().collection("relayed")
    documents = {f"large{number}": os.urandom(900_000) for number in range(8)}
    changes: queue.SimpleQueue[Any] = queue.SimpleQueue()

    watching: Any = collection.document("watched").on_snapshot(lambda *snapshot: changes.put(snapshot))
    for name, content in documents.items():
        collection.document(name).set({"content": content})
    stored = {document.id: document.get("content") for document in collection.stream()}
    changes.get(timeout=PATIENCE_SECONDS)
    collection.document("watched").set({"seen": True})
    changes.get(timeout=PATIENCE_SECONDS)
    watching.unsubscribe()

    assert stored == documents


async def test_a_client_that_does_not_read_is_closed(tmp_path: Path) -> None:
    """Its connection would otherwise stay open beyond the limit, with bytes that nothing reads."""
    path = tmp_path / "grpc"

    def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(16 * 2**20))
        writer.close()

    server = await asyncio.start_unix_server(respond, path)
    listening = socket.create_server(("127.0.0.1", 0))
    relay = TcpRelay(path, [listening])
    await relay.start()
    with socket.create_connection(listening.getsockname(), PATIENCE_SECONDS) as client:
        client.setblocking(False)
        client.shutdown(socket.SHUT_WR)
        poller = select.poll()
        poller.register(client, select.POLLHUP)

        await asyncio.to_thread(eventually, lambda: poller.poll(0))

    await relay.stop()
    server.close()


def test_connections_wait_while_firestore_restarts(disturbed_stack: Stack) -> None:
    """They were refused, and another program could accept them."""
    firestore = disturbed_stack.firestore_pid()
    os.kill(firestore, signal.SIGKILL)
    with socket.create_connection(("127.0.0.1", disturbed_stack.firestore_port), PATIENCE_SECONDS) as waiting:
        first_bytes = waiting.recv(9)
    document = disturbed_stack.firestore().document("a/b")
    document.set({}, retry=Retry(deadline=PATIENCE_SECONDS))

    assert len(first_bytes) > 0
    assert document.get().exists
    assert disturbed_stack.firestore_pid() != firestore


def test_idle_connections_leave_the_stack_alone(disturbed_stack: Stack) -> None:
    """The API and the function do not use the port, and the relay has a limit of its own."""
    address, hangs = ("127.0.0.1", disturbed_stack.firestore_port), disturbed_stack.log.count("hangs")
    with ExitStack() as opened:
        idle = [
            opened.enter_context(socket.create_connection(address, PATIENCE_SECONDS))
            for _ in range(MAX_CONNECTIONS + 100)
        ]
        sample = disturbed_stack.submit_fixture()["id"]
        disturbed_stack.wait_for(sample)
        refused = idle[-1].recv(1)

    assert refused == b""
    eventually(lambda: disturbed_stack.firestore().document(f"submitters/local/samples/{sample}").get().exists)
    assert disturbed_stack.log.count("hangs") == hangs
