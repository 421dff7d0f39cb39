"""The embedded Firestore in a process of its own, with Google's clients and plain gRPC calls to it."""

import contextlib
import json
import queue
import resource
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.cloud.firestore import Client

from infra.embedded.firestore.indexes.entry_tables import Entry, EntryTables
from tests.ports import free_port
from tests.stack import PATIENCE_SECONDS

DATABASE = "projects/p/databases/(default)"
ROOT = f"{DATABASE}/documents"
SERVICE = "/google.firestore.v1.Firestore/"


class Requests:
    """The requests of a bidirectional stream, sent as the test provides them."""

    def __init__(self, *requests: Any) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for request in requests:
            self._queue.put(request)

    def send(self, request: Any) -> None:
        """Send a request. None ends the stream."""
        self._queue.put(request)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        request = self._queue.get()
        if request is None:
            raise StopIteration
        return request


class FirestoreProcess:
    """A server that can be stopped, killed and restarted with the same file."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.data = folder / "firestore.sqlite"
        self.port = free_port()
        self.program: tuple[str, ...] = ("-m", "infra.embedded.firestore")
        self.options = list(options)
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[Client] = []
        self._channel = grpc.insecure_channel(self.address)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def start(self, message: str = "is ready") -> None:
        """Start the server and wait until it logs `message`, by default that it is ready."""
        command = [sys.executable, *self.program, "--port", str(self.port)]
        command += ["--data", str(self.data), *self.options]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stderr=log)
        try:
            self._wait_for(message, self._process)
        except BaseException:
            self.end(signal.SIGKILL)  # a process that is left would fail a later test with a `ResourceWarning`
            raise

    def _wait_for(self, message: str, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            code = process.poll()  # before the log is read: the process can end just after the message
            if message in (text := self.log.read_text()):
                return
            assert code is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.01)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end of the process and return its exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(number)
        return process.wait(PATIENCE_SECONDS)

    def wait(self) -> int:
        """Wait until the process ends by itself and return its exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        return process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        """Close all clients and kill the server."""
        for client in self._clients:
            client.close()  # type: ignore[no-untyped-call]
        self._channel.close()
        if self._process is not None:
            self.end(signal.SIGKILL)

    def resident_bytes(self) -> int:
        """Return the resident memory of the process."""
        assert self._process is not None
        kilobytes = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self._process.pid)], capture_output=True, text=True, check=True
        )
        return int(kilobytes.stdout) * 1024

    def limit_files(self, size: int) -> None:
        """Limit the size in bytes of every file that the process writes. Linux only."""
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def query(self, statement: str) -> list[Any]:
        """Run an SQL query on the data file."""
        with contextlib.closing(sqlite3.connect(self.data)) as connection:
            return connection.execute(statement).fetchall()

    def entries(self) -> list[Entry]:
        """Return the index entries in the data file, in order."""
        with contextlib.closing(sqlite3.connect(self.data)) as connection:
            return list(EntryTables(connection).rows())

    def client(self) -> Client:
        """Return Google's client, connected to this server."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("FIRESTORE_EMULATOR_HOST", self.address)
            client = Client(project="p")
        self._clients.append(client)
        return client

    def call(self, method: str, request: Any, response: Any) -> Any:
        """Call a unary RPC."""
        return self._channel.unary_unary(SERVICE + method, type(request).SerializeToString, response.FromString)(
            request, timeout=PATIENCE_SECONDS, wait_for_ready=True
        )

    def stream(self, method: str, request: Any, response: Any) -> list[Any]:
        """Call an RPC that streams responses, and return all of them."""
        call = self._channel.unary_stream(SERVICE + method, type(request).SerializeToString, response.FromString)
        return list(call(request, timeout=PATIENCE_SECONDS))

    def converse(self, method: str, requests: Requests, request: Any, response: Any) -> Any:
        """Open a bidirectional stream."""
        call = self._channel.stream_stream(SERVICE + method, request.SerializeToString, response.FromString)
        return call(requests, timeout=PATIENCE_SECONDS)


def archive(*arguments: str, text: str | None = None) -> str:
    """Run a command of the archive with `text` as its input, and return what it prints."""
    command = [sys.executable, "-m", "infra.embedded.firestore.archive", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60).stdout


def call_count(http_port: int, method: str = "") -> int:
    """Return the number of calls to the server with this HTTP port, or of the calls of one method."""
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/metrics", timeout=PATIENCE_SECONDS) as response:
        lines = response.read().decode().splitlines()
    counted = (line for line in lines if line.startswith("firestore_calls_total{") and f'method="{method}' in line)
    return sum(int(float(line.rpartition(" ")[2])) for line in counted)


def convert_to_format_1(connection: sqlite3.Connection) -> None:
    """Give a file the tables of format version 1, which did not store a version."""
    connection.execute("PRAGMA user_version = 0")
    connection.execute("ALTER TABLE versions DROP COLUMN checksum")
    connection.execute("DROP TABLE dropped_composites")
    connection.execute("DROP TABLE entry_tables")
    connection.execute("DROP TABLE index_builds")
    connection.execute("DELETE FROM settings WHERE name = 'field_definitions'")


def write_indexes(path: Path, indexes: list[Any], overrides: list[Any]) -> Path:
    """Write a firestore.indexes.json."""
    path.write_text(json.dumps({"indexes": indexes, "fieldOverrides": overrides}))
    return path
