"""The gRPC channel to Firestore, with the same options in every process.

If `FIRESTORE_EMULATOR_HOST` is set, the channel connects to that host without TLS. Otherwise the
channel connects to the production service with the default credentials of Google Cloud.

Note: an insecure channel cannot have call credentials, so every call must carry the metadata of its connection. The
metadata contains the bearer token.

A thread of `grpc.aio` writes one byte to a socket for each completed operation. The event loop calls a reader when the
socket has data, once per iteration. With grpcio 1.85, this reader processes a single operation. A call has several
operations. If the event loop is busy, so that an iteration takes 4 ms, and 64 reads are running, a write therefore
takes 860 ms. This module processes all completed operations in one iteration. The write then takes 25 ms.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import grpc
import grpc.aio

from storage.firestore.environment import Emulator, selected_firestore
from storage.firestore.reads import page_reader

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # gRPC's default reconnect backoff grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # The time for one attempt to connect, despite the name of the option. gRPC's default is 20 s.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # A connection can stop responding without being closed. gRPC detects this only by an unanswered ping.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Connection(NamedTuple):
    """A channel to Firestore."""

    channel: grpc.aio.Channel
    server: str
    """The address of Firestore, as the environment or Google names it."""
    project: str
    """The project from the environment."""
    metadata: tuple[tuple[str, str], ...] = ()
    """The metadata that every call on the channel must carry."""


def open_connection() -> Connection:
    """Return a connection to the Firestore that the environment selects. Raises `ValueError` if it selects none.

    The channel belongs to the running event loop. It connects at the first call.
    """
    with _reading_all_operations():
        return _open_connection()


def _open_connection() -> Connection:
    selected = selected_firestore()
    if isinstance(selected, Emulator):
        metadata = (("authorization", f"Bearer {selected.token}"),)
        channel = grpc.aio.insecure_channel(selected.address, options=_OPTIONS)
        return Connection(channel, selected.address, selected.project, metadata)
    # The import takes half a second of CPU time, and only Google Cloud needs it.
    from google.cloud.firestore_v1.services.firestore.transports.grpc_asyncio import FirestoreGrpcAsyncIOTransport

    channel = FirestoreGrpcAsyncIOTransport.create_channel(credentials=selected.credentials, options=_OPTIONS)
    return Connection(channel, FirestoreGrpcAsyncIOTransport.DEFAULT_HOST, selected.project)


def open_blocking_channel() -> grpc.Channel:
    """Return a channel to the same Firestore, for calls in threads. Its calls need the metadata of the connection."""
    options: Any = (*_OPTIONS, *page_reader.OPTIONS)
    selected = selected_firestore()
    if isinstance(selected, Emulator):
        return grpc.insecure_channel(selected.address, options=options)
    from google.cloud.firestore_v1.services.firestore.transports.grpc import FirestoreGrpcTransport

    return FirestoreGrpcTransport.create_channel(credentials=selected.credentials, options=options)


@contextmanager
def _reading_all_operations() -> Iterator[None]:
    """Let the reader of the channel process all completed operations in each iteration of the event loop.

    The first channel of the event loop must be opened in this context.
    """
    loop: Any = asyncio.get_running_loop()
    add_reader = loop.add_reader

    def add(source: Any, read_one: Callable[..., object], *arguments: Any) -> None:
        if isinstance(source, socket.socket):
            add_reader(source, _read_operations, source, partial(read_one, *arguments))
        else:
            add_reader(source, read_one, *arguments)

    loop.add_reader = add
    try:
        yield
    finally:
        del loop.add_reader


def _read_operations(source: socket.socket, read_one: Callable[[], object]) -> None:
    try:
        (operations,) = struct.unpack("i", fcntl.ioctl(source, termios.FIONREAD, bytes(4)))
    except OSError:  # a system that does not allow this request
        operations = 1
    for _ in range(max(1, operations)):
        read_one()
