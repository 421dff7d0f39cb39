"""What the relay reads of HTTP/2 frames, and how many frames and streams it relays."""

import asyncio
import contextlib
import itertools
import socket
import struct
from pathlib import Path

import pytest

from infra.embedded.firestore.transport import relayed_frames, tcp_relay
from infra.embedded.firestore.transport.http2_frames import (
    DATA,
    END_STREAM,
    HEADERS,
    PREFACE_BYTES,
    RST_STREAM,
    SETTINGS,
    FrameScanner,
    with_max_streams,
)
from infra.embedded.firestore.transport.relayed_frames import (
    MAX_SAVED_UNITS,
    STREAM_UNITS,
    UNITS_PER_RESPONSE,
    FrameBudget,
    RelayedFrames,
)
from infra.embedded.firestore.transport.tcp_relay import TcpRelay
from tests.stack import PATIENCE_SECONDS

PING = 6
PREFACE = bytes(PREFACE_BYTES)


def http2_frame(kind: int, payload_bytes: int = 0, *, flags: int = 0, stream: int = 0) -> bytes:
    """Return a frame whose payload is zero."""
    return payload_bytes.to_bytes(3) + bytes([kind, flags]) + struct.pack("!I", stream) + bytes(payload_bytes)


def opened(*streams: int) -> bytes:
    """Return the frames that open streams."""
    return b"".join(http2_frame(HEADERS, 6, stream=stream) for stream in streams)


@pytest.mark.parametrize("size", [1, 2, 8, 9, 10, 25, 10_000])
def test_frames_are_found_in_chunks_of_any_size(size: int) -> None:
    """A header can be split anywhere, and a payload can be longer than a chunk."""
    sent = [(number * 37 % 300, number % 10, number % 2, number) for number in range(200)]
    data = PREFACE + b"".join(http2_frame(kind, length, flags=flags, stream=id_) for length, kind, flags, id_ in sent)
    scanner = FrameScanner(PREFACE_BYTES)
    chunks = [data[start : start + size] for start in range(0, len(data), size)]

    found = [tuple(frame)[1:] for chunk in chunks for frame in scanner.frames(chunk)]

    assert found == sent


def settings(*pairs: tuple[int, int]) -> bytes:
    """Return a frame with settings."""
    payload = b"".join(struct.pack("!HI", *pair) for pair in pairs)
    return len(payload).to_bytes(3) + bytes([SETTINGS, 0]) + bytes(4) + payload


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (settings((3, 100_000), (4, 65_535)), settings((3, 100), (4, 65_535))),
        (settings((4, 65_535)) + http2_frame(PING, 8), settings((4, 65_535), (3, 100)) + http2_frame(PING, 8)),
        (settings((3, 100_000))[:-1], settings((3, 100_000))[:-1]),
        (b"HTTP/1.1 400 Bad Request", b"HTTP/1.1 400 Bad Request"),
        (b"", b""),
    ],
)
def test_the_first_settings_of_a_server_limit_the_streams_of_the_client(sent: bytes, expected: bytes) -> None:
    """Other settings, the frames after them, and bytes that are not HTTP/2 stay as they are."""
    assert with_max_streams(sent, 100) == expected


async def test_all_bytes_are_relayed_in_order() -> None:
    """A chunk that costs more than a turn is relayed in parts."""
    frames = RelayedFrames(FrameBudget(), lambda: None)
    data = PREFACE + b"".join(http2_frame(PING, number % 50) for number in range(1_000))
    chunks = [data[start : start + 7_000] for start in range(0, len(data), 7_000)]

    parts = [part for chunk in chunks for part in [part async for part in frames.admit(chunk)]]

    assert b"".join(parts) == data
    assert len(parts) > len(chunks)


async def test_frames_without_a_response_wait_when_the_budget_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget is shared, so another connection of the same client does not help."""
    monkeypatch.setattr(relayed_frames, "UNITS_PER_SECOND", 1e-9)
    budget = FrameBudget()
    flooding, other = RelayedFrames(budget, lambda: None), RelayedFrames(budget, lambda: None)
    relayed = bytearray()

    async def relay(frames: RelayedFrames, data: bytes) -> None:
        async for part in frames.admit(PREFACE + data):
            relayed.extend(part)

    tasks = [
        asyncio.create_task(relay(flooding, http2_frame(PING, 8) * 10_000)),
        asyncio.create_task(relay(other, opened(1))),
    ]
    done, _ = await asyncio.wait(tasks, timeout=0.05)
    for task in tasks:
        task.cancel()

    assert done == set()
    assert len(relayed) // len(http2_frame(PING, 8)) <= MAX_SAVED_UNITS + 2 * relayed_frames.TURN_UNITS


async def test_calls_that_are_answered_need_no_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response pays for the next call, with its headers, its request and what confirms the response."""
    monkeypatch.setattr(relayed_frames, "UNITS_PER_SECOND", 1e-9)
    frames = RelayedFrames(FrameBudget(), lambda: None)
    _ = [part async for part in frames.admit(PREFACE)]

    async with asyncio.timeout(PATIENCE_SECONDS):
        for stream in range(1, 2_000, 2):
            call = opened(stream) + http2_frame(DATA, 100, flags=END_STREAM, stream=stream) + http2_frame(PING, 8) * 3
            assert [part async for part in frames.admit(call)] == [call]
            frames.note_responses(http2_frame(DATA, 10, stream=stream))
            frames.note_responses(http2_frame(HEADERS, 10, flags=END_STREAM, stream=stream))

    assert frames.open_streams == set()
    assert UNITS_PER_RESPONSE > STREAM_UNITS + 5


async def test_a_stream_is_open_until_a_side_resets_it_or_the_server_ends_it() -> None:
    """A client that has sent its request still waits for the response."""
    frames = RelayedFrames(FrameBudget(), lambda: None)
    requests = opened(1, 3, 5, 7) + http2_frame(DATA, flags=END_STREAM, stream=7) + http2_frame(RST_STREAM, 4, stream=1)

    _ = [part async for part in frames.admit(PREFACE + requests)]
    frames.note_responses(http2_frame(RST_STREAM, 4, stream=3))
    frames.note_responses(http2_frame(HEADERS, 9, flags=END_STREAM, stream=5))

    assert frames.open_streams == {7}


async def test_too_many_open_streams_close_the_connection_with_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the relay has read from this connection, but not sent, does not reach gRPC."""
    monkeypatch.setattr(tcp_relay, "MAX_OPEN_STREAMS", 10)
    received: list[bytearray] = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(data := bytearray())
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(4_096):
                data.extend(chunk)
                writer.write(http2_frame(PING, 8))
        writer.close()

    path = tmp_path / "grpc"
    server = await asyncio.start_unix_server(respond, path)
    listening = socket.create_server(("127.0.0.1", 0))
    relay = TcpRelay(path, [listening])
    await relay.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        reader, modest = await asyncio.open_connection(*listening.getsockname())
        modest.write(PREFACE + opened(1, 3))
        await reader.readexactly(17)
        flooded, flooding = await asyncio.open_connection(*listening.getsockname())
        flooding.write(PREFACE + opened(*itertools.islice(itertools.count(1, 2), 5_000)))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await flooded.readexactly(10**9)
        modest.write(http2_frame(PING, 8))
        await reader.readexactly(17)
    modest.transport.abort()
    flooding.transport.abort()
    await relay.stop()
    server.close()

    assert all(len(data) < PREFACE_BYTES + 100 * len(opened(1)) for data in received)
