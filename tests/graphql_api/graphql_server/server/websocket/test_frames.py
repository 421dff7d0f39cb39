"""WebSocket frames: their limits before authentication, and their share of the event loop."""

import contextlib
import json
import struct
import sys
import threading
from collections.abc import Iterator
from socket import SHUT_RDWR

import pytest
from websockets.sync.client import ClientConnection

from graphql_api.graphql_server import GraphQLSettings, ServerSettings
from graphql_api.graphql_server.server.websocket.frame_scheduler import FrameScheduler
from tests.graphql_api.graphql_server.clients import ACK, INIT, closed, initialized, receive, send, socket, subscribe
from tests.graphql_api.graphql_server.server.frame import frame
from tests.graphql_api.graphql_server.service import KEY, Service, running
from tests.stack import eventually

MAX_FRAMES_PER_TURN = 64
MAX_FRAMES_PER_WEBSOCKET = 16
CONTINUATION, TEXT, PING, PONG = 0, 1, 9, 10


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Serve with the default limits, but with more time before `connection_init`."""
    settings = GraphQLSettings(connection_init_seconds=30)
    with running(settings, ServerSettings(unread_body_seconds=0.2)) as running_service:
        yield running_service


def flood(connection: ClientConnection, data: bytes) -> None:
    """Send bytes until the server ends the connection or has taken them."""
    with contextlib.suppress(OSError):
        connection.socket.sendall(data)


FLOODS = {
    "pings": frame(PING),
    "pongs": frame(PONG),
    "continuations": frame(CONTINUATION, is_final=False),
    "empty texts": frame(TEXT),
    "ping messages": frame(TEXT, b'{"type":"ping"}'),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_before_connection_init_is_a_policy_violation(service: Service, kind: str) -> None:
    """The server parses a few frames, and discards the rest."""
    beginning = frame(TEXT, b"{", is_final=False) if kind == "continuations" else b""
    with socket(service) as connection:
        threading.Thread(target=flood, args=(connection, beginning + FLOODS[kind] * 500_000)).start()

        code, reason = closed(connection)

    if kind == "empty texts":
        assert code in (1008, 4400)  # the protocol expects JSON
    else:
        assert (code, reason) == (1008, "too many frames before connection_init")


def test_a_large_message_before_connection_init_is_a_policy_violation(service: Service) -> None:
    """A connection_init with a key is far smaller."""
    with socket(service) as connection:
        send(connection, {"type": "connection_init", "payload": {"apiKey": "x" * 100_000}})

        assert closed(connection)[0] == 1008


@pytest.mark.parametrize("kind", ["pings", "pongs", "ping messages", "continuations"])
def test_a_flood_of_an_authenticated_client_slows_only_its_own_websocket(
    service: Service, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a limit, the frames that one read returns take the event loop for a third of a second."""
    frames_by_turn: list[int] = []
    start_turn = FrameScheduler._start_turn

    def record(scheduler: FrameScheduler) -> None:
        frames_by_turn.append(MAX_FRAMES_PER_TURN - scheduler._frames_left)
        start_turn(scheduler)

    monkeypatch.setattr(FrameScheduler, "_start_turn", record)
    with contextlib.ExitStack() as opened:
        connections = [opened.enter_context(initialized(service)) for _ in range(10)]
        beginning = frame(TEXT, b"{", is_final=False) if kind == "continuations" else b""
        for connection in connections:
            threading.Thread(target=flood, args=(connection, beginning + FLOODS[kind] * 100_000)).start()
        eventually(lambda: sum(frames_by_turn) > 5_000)
        for _ in range(5):
            assert service.post("{ hello }").status_code == 200
        for connection in connections:
            connection.socket.close()

    assert MAX_FRAMES_PER_TURN <= max(frames_by_turn) < MAX_FRAMES_PER_TURN + MAX_FRAMES_PER_WEBSOCKET


def test_a_large_frame_counts_as_several(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """An iteration of the event loop would otherwise parse dozens of large messages, each of which takes 0.4 ms."""
    spent: list[int] = []
    spend = FrameScheduler.spend

    def record(scheduler: FrameScheduler, frames: int) -> None:
        spent.append(frames)
        spend(scheduler, frames)

    with initialized(service) as connection:
        monkeypatch.setattr(FrameScheduler, "spend", record)
        send(connection, {"type": "ping", "payload": {"a": "x" * 60_000}})
        assert receive(connection)["type"] == "pong"

    assert sum(spent) > MAX_FRAMES_PER_WEBSOCKET - 2


def test_the_last_byte_of_a_message_counts_as_the_whole_message(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, the last bytes of 100 large messages take half a second of one iteration of the event loop."""
    spent: list[int] = []
    spend = FrameScheduler.spend

    def record(scheduler: FrameScheduler, frames: int) -> None:
        spent.append(frames)
        spend(scheduler, frames)

    message = frame(TEXT, b'{"type":"ping","payload":{"a":"%b"}}' % (b"x" * 60_000))
    with initialized(service) as connection:
        monkeypatch.setattr(FrameScheduler, "spend", record)
        connection.socket.sendall(message[:-1])
        eventually(lambda: sum(spent) > MAX_FRAMES_PER_WEBSOCKET - 2)
        spent.clear()
        connection.socket.sendall(message[-1:])
        assert receive(connection)["type"] == "pong"

    assert sum(spent) > MAX_FRAMES_PER_WEBSOCKET - 2


@pytest.mark.parametrize("kind", ["pings", "pongs", "continuations"])
def test_frames_without_data_are_limited_after_connection_init(kind: str) -> None:
    """After its client has gone, the server would otherwise parse millions of frames.

    The default limit is 1,000 frames per second. A busy machine may parse fewer.
    """
    settings = ServerSettings(unread_body_seconds=0.2, max_frames_without_data_per_second=50)
    beginning = frame(TEXT, b"{", is_final=False) if kind == "continuations" else b""
    with running(server_settings=settings) as service, initialized(service) as connection:
        threading.Thread(target=flood, args=(connection, beginning + FLOODS[kind] * 100_000)).start()

        assert closed(connection) == (1008, "too many pings, pongs or empty fragments")


def test_a_client_may_send_some_pings_in_a_second(service: Service) -> None:
    """The limit is far above what clients need."""
    with initialized(service) as connection:
        connection.socket.sendall(frame(PING) * 900 + frame(TEXT, b'{"type":"ping"}'))

        assert receive(connection) == {"type": "pong"}


def test_a_message_in_many_fragments_is_received(service: Service) -> None:
    """Pings may arrive between its fragments."""
    text = json.dumps({"type": "ping", "payload": {"text": "é" * 3_000}}, ensure_ascii=False).encode()
    pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
    with initialized(service) as connection:
        connection.socket.sendall(
            b"".join(
                frame(TEXT if number == 0 else CONTINUATION, piece, is_final=number == len(pieces) - 1) + frame(PING)
                for number, piece in enumerate(pieces)
            )
        )

        assert receive(connection) == json.loads(text) | {"type": "pong"}


def test_messages_may_follow_connection_init_at_once(service: Service) -> None:
    """They do not count as messages before authentication."""
    messages = [frame(TEXT, json.dumps(INIT).encode())]
    messages += [frame(TEXT, json.dumps({"type": "ping", "payload": {"n": n}}).encode()) for n in range(100)]
    with socket(service) as connection:
        connection.socket.sendall(b"".join(messages))

        assert receive(connection) == ACK
        assert [receive(connection)["payload"]["n"] for _ in range(100)] == list(range(100))


def test_a_close_frame_after_many_frames_closes_the_websocket(service: Service) -> None:
    """Frames that wait for their turn are parsed even if no more data arrives."""
    with initialized(service) as connection:
        connection.socket.sendall(frame(PING) * 1_000 + frame(8, struct.pack("!H", 1000)))
        assert closed(connection)[0] == 1000


def test_frames_of_a_client_that_is_gone_are_not_handled() -> None:
    """The end of the connection arrives after them. The server reads the documents one by one, and sends nothing.

    Other systems than Linux do not tell that a connection has ended before its data is read.
    """
    documents = [f"{{ field{number}: slow(seconds: 60) }}" for number in range(800)]
    messages = [subscribe(document, str(number)) for number, document in enumerate(documents)]
    with running(GraphQLSettings(max_operations_per_websocket=1_000)) as service:
        with initialized(service) as connection:
            budget = service.budgets.submitter(KEY)
            before = service.state.authentications
            connection.socket.sendall(b"".join(frame(TEXT, json.dumps(message).encode()) for message in messages))
            connection.socket.shutdown(SHUT_RDWR)

        eventually(lambda: budget.websockets.used == 0)
        handled = service.state.authentications - before
        assert (handled < len(messages) / 2) == (sys.platform == "linux")
