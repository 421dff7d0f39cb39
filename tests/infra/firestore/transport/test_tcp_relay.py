"""The TCP port of the stack's Firestore, which is relayed to the Unix socket of gRPC."""

import asyncio
import contextlib
import os
import queue
import select
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core.retry import Retry

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.transport import tcp_relay
from infra.embedded.firestore.transport.tcp_relay import MAX_CONNECTIONS, MAX_STREAMS, TcpRelay
from tests.infra.firestore.server_process import DATABASE, ROOT, SERVICE
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


async def test_a_client_has_more_listeners_than_a_connection_of_production(stack: Stack) -> None:
    """Google's client for Node then opens another connection in production, but never one without TLS."""
    async with connected(stack) as channel, asyncio.timeout(PATIENCE_SECONDS):
        calls = [listen(channel) for _ in range(250)]

        await asyncio.gather(*(add_target(call, 1) for call in calls))


async def test_a_further_call_waits_if_a_client_has_too_many_streams(stack: Stack) -> None:
    """The limit of all open streams would end the connection with its calls. A client of production expects to wait."""
    async with connected(stack) as channel:
        calls = [listen(channel) for _ in range(MAX_STREAMS + 1)]
        reads = [asyncio.create_task(add_target(call, 1)) for call in calls]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while sum(read.done() for read in reads) < MAX_STREAMS:
                await asyncio.wait([read for read in reads if not read.done()], return_when=asyncio.FIRST_COMPLETED)
            open_call = next(call for call, read in zip(calls, reads, strict=True) if read.done())
            await add_target(open_call, 2)
            waiting = [read for read in reads if not read.done()]

            open_call.cancel()
            await asyncio.gather(*waiting)

    assert len(waiting) == 1


def connected(stack: Stack) -> grpc.aio.Channel:
    """Return a channel with a connection of its own. Other tests of this process have open streams too."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{stack.firestore_port}", [("grpc.use_local_subchannel_pool", 1)])


def listen(channel: grpc.aio.Channel) -> Any:
    """Open a Listen stream."""
    return channel.stream_stream(f"{SERVICE}Listen", m.ListenRequest.SerializeToString, m.ListenResponse.FromString)()


async def add_target(call: Any, target_id: int) -> None:
    """Add a target to a Listen stream, and wait until the server has added it."""
    request = m.ListenRequest(database=DATABASE)
    request.add_target.target_id = target_id
    request.add_target.documents.documents.append(f"{ROOT}/relayed/watched")
    await call.write(request)
    while target_id not in (await call.read()).target_change.target_ids:
        pass


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
    """The API and the function do not use the port. Operators do, and a new connection closes an idle one."""
    address, hangs = ("127.0.0.1", disturbed_stack.firestore_port), disturbed_stack.log.count("hangs")
    with ExitStack() as opened:
        idle = [
            opened.enter_context(socket.create_connection(address, PATIENCE_SECONDS))
            for _ in range(MAX_CONNECTIONS + 100)
        ]
        sample = disturbed_stack.submit_fixture()["id"]
        disturbed_stack.wait_for(sample)
        documents: Any = disturbed_stack.firestore()
        stored = documents.document(f"submitters/local/samples/{sample}").get(timeout=PATIENCE_SECONDS)
        assert is_closed(idle[0])
        newest = idle[-1].recv(1)

    assert stored.exists
    assert newest
    assert disturbed_stack.log.count("hangs") == hangs


async def test_a_client_that_sends_data_keeps_its_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new connection closes the one whose client has sent nothing for the longest time."""
    monkeypatch.setattr(tcp_relay, "MAX_CONNECTIONS", 3)
    path = tmp_path / "grpc"
    server = await asyncio.start_unix_server(echo, path)
    listening = socket.create_server(("127.0.0.1", 0))
    relay = TcpRelay(path, [listening])
    await relay.start()
    active, *others = [await asyncio.open_connection(*listening.getsockname()) for _ in range(3)]
    for _ in range(6):
        reader, writer = active
        writer.write(b"data")
        assert await reader.readexactly(4) == b"data"
        others.append(await asyncio.open_connection(*listening.getsockname()))
        silent, closing = others.pop(0)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await silent.read() == b""
        closing.transport.abort()

    for _, writer in (active, *others):
        writer.transport.abort()
    await relay.stop()
    server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what arrives."""
    while data := await reader.read(4_096):
        writer.write(data)
    writer.close()


def is_closed(client: socket.socket) -> bool:
    """Return whether the other side has closed a connection, after a few bytes."""
    client.settimeout(PATIENCE_SECONDS)
    try:
        while client.recv(4_096):
            pass
    except ConnectionError:
        pass
    return True
