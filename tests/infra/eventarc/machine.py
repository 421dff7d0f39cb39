"""A Firestore with event delivery in the test process, and a function whose responses the test chooses."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient
from google.events.cloud.firestore import DocumentEventData

from infra.embedded.eventarc import trigger
from infra.embedded.eventarc.dispatcher import Dispatcher
from infra.embedded.firestore.api.firestore_server import FirestoreServer
from infra.embedded.firestore.storage.storage import Storage
from tests import asyncio_server
from tests.ports import free_port

WRITTEN = "google.cloud.firestore.document.v1.written"


PATIENCE_SECONDS = 60.0
RESTART_SECONDS = 0.2


async def until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a condition holds; fail after a generous deadline."""
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


@dataclass(frozen=True, slots=True)
class Event:
    """A request that the function received."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The id of the event."""
        return self.headers["ce-id"]

    @property
    def document(self) -> str:
        """The path of the changed document."""
        return self.headers["ce-document"]

    @property
    def data(self) -> Any:
        """The body, decoded with Google's library."""
        return DocumentEventData.deserialize(self.body)


class Function:
    """An HTTP server on a fixed port. `respond` returns the status, or None to break the connection."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.connections = 0
        self.respond: Callable[[Event], Awaitable[int | None]] = self.acknowledge
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        """The URL of the function."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def documents(self) -> list[str]:
        """The paths of the documents of all events, in order of arrival."""
        return [event.document for event in self.events]

    @staticmethod
    async def acknowledge(_: Event) -> int:
        """Acknowledge an event."""
        return 200

    def respond_with(self, status: int) -> None:
        """Respond to all events with `status`."""

        async def respond(_: Event) -> int:
            return status

        self.respond = respond

    async def start(self) -> None:
        """Start listening."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Stop listening, break every connection, and stop all work, like a killed process."""
        assert self._server is not None
        await asyncio_server.close(self._server)
        serving = {task: writer for task, writer in self._serving.items() if task is not None}
        for task, writer in serving.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._serving[asyncio.current_task()] = writer
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                assert head[0] == "POST / HTTP/1.1"
                headers = {n.lower(): v for n, v in (line.split(": ", 1) for line in head[1:-2])}
                event = Event(headers, await reader.readexactly(int(headers.get("content-length", "0"))))
                self.events.append(event)
                status = await self.respond(event)
                if status is None:
                    break
                body = b"" if status == 204 else b"OK"
                length = b"" if status == 204 else b"content-length: 2\r\n"
                writer.write(b"HTTP/1.1 %d Status\r\n%s\r\n%s" % (status, length, body))
        del self._serving[asyncio.current_task()]
        writer.close()


class MortalFunction(Function):
    """A function that a poison event kills. It restarts after `RESTART_SECONDS`."""

    def __init__(self) -> None:
        super().__init__()
        self.respond = self.respond_or_die
        self.crashes = 0
        self.acknowledged: Counter[str] = Counter()
        self.notices: list[Event] = []
        self._restarting: asyncio.Task[None] | None = None

    async def respond_or_die(self, event: Event) -> int | None:
        """Die if the event is poison; otherwise acknowledge it after a short time."""
        if "ce-givenup" in event.headers:
            self.notices.append(event)
            return 200
        if "poison" in event.document:
            self.die()
            return None
        await asyncio.sleep(0.005)
        self.acknowledged[event.document] += 1
        return 200

    def die(self) -> None:
        """Break all connections, and restart."""
        if self._restarting is None or self._restarting.done():
            self.crashes += 1
            self._restarting = asyncio.create_task(self._restart())

    async def end(self) -> None:
        """Stop after a restart that has begun."""
        if self._restarting is not None:
            await self._restarting
        await self.stop()

    async def _restart(self) -> None:
        await self.stop()
        await asyncio.sleep(RESTART_SECONDS)
        await self.start()


_anonymous: Any = AnonymousCredentials  # the class has no type hints


class Firestore:
    """The embedded server on one file. A test may start and stop it repeatedly."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.storage: Storage
        self.client: Any
        self._delivering: asyncio.Task[None]
        self.server: FirestoreServer
        self.dispatcher: Dispatcher

    async def start(self, *triggers: dict[str, Any]) -> None:
        """Serve, and deliver events of these triggers."""
        self.storage = Storage(self.path)
        self.dispatcher = Dispatcher(self.storage, trigger.read(triggers))
        await self.dispatcher.open()
        self._delivering = asyncio.create_task(self.dispatcher.run())
        self.server = FirestoreServer(self.storage, "127.0.0.1", 0)
        await self.server.start()
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{self.server.port}")
            self.client = AsyncClient(project="p", credentials=_anonymous())

    async def stop(self) -> None:
        """Stop everything, in the order of the command."""
        self.client.close()
        await self.server.stop()
        self._delivering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._delivering
        await self.storage.close()

    async def write(self, *paths: str) -> None:
        """Write documents in one commit."""
        batch = self.client.batch()
        for path in paths:
            batch.set(self.client.document(path), {"path": path})
        await batch.commit()

    async def rows(self, table: str, columns: str) -> list[Any]:
        """Return columns of a table of the file."""
        return await self.storage.read(lambda c: c.execute(f"SELECT {columns} FROM {table}").fetchall())

    async def until_rows(self, table: str, columns: str, expected: list[Any]) -> None:
        """Wait until a table of the file has the expected rows."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                if sorted(await self.rows(table, columns)) == expected:
                    return
                await asyncio.sleep(0.02)
