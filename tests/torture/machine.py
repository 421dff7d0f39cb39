"""A Firestore process that is killed and restarted on the same file, and a function that receives its events."""

import asyncio
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient, Client
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport

from infra.embedded.firestore.storage.versions import Change
from tests.infra.eventarc.machine import Event, Function, until
from tests.ports import free_port

TIMEOUT_SECONDS = 60.0

_anonymous: Any = AnonymousCredentials  # the class has no type hints


@dataclass(frozen=True)
class Clients:
    """Google's clients of one server.

    `api` sends single RPCs without the retries of a client. `bulk` is for BatchWrite.
    """

    concurrent: Any
    api: Any
    bulk: Any

    async def close(self) -> None:
        """Close the connections."""
        self.concurrent.close()
        await self.api.transport.close()
        self.bulk.close()


class Firestore:
    """`python -m infra.embedded.firestore` with one trigger for all writes, and small entry tables."""

    def __init__(self, folder: Path, function_url: str) -> None:
        self.data = folder / "firestore.sqlite"
        self._port = free_port()
        self._log = folder / "firestore.log"
        self._triggers = folder / "triggers.toml"
        self._triggers.write_text(
            '[[triggers]]\nname = "everything"\nevent_type = "google.cloud.firestore.document.v1.written"\n'
            f'url = "{function_url}"\nmin_backoff_seconds = 0.02\nmax_backoff_seconds = 0.2\n'
        )
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it logs that it is ready."""
        start = self._log.stat().st_size if self._log.exists() else 0
        options = (f"--port={self._port}", f"--data={self.data}", f"--triggers={self._triggers}")
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.infra.firestore.small_entry_tables", *options, stdout=log, stderr=log
            )
        await until(lambda: b"FIRESTORE_EMULATOR_HOST=" in self._log.read_bytes()[start:], TIMEOUT_SECONDS)

    def clients(self) -> "Clients":
        """Return new clients of the server."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{self._port}")
            identity = {"project": "p", "credentials": _anonymous()}
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{self._port}")
            api = FirestoreAsyncClient(transport=FirestoreGrpcAsyncIOTransport(channel=channel))
            return Clients(AsyncClient(**identity), api, Client(**identity))

    async def kill(self) -> None:
        """Kill the process, if it runs."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None


class Receiver:
    """A function that sometimes fails, and records the events that it has acknowledged."""

    def __init__(self, chance: random.Random) -> None:
        self.acknowledged: set[tuple[str, str]] = set()
        self.requests = 0
        self._chance = chance
        self._function = Function()
        self._function.respond = self._answer
        self.url = self._function.url

    async def start(self) -> None:
        """Start to listen."""
        await self._function.start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._function.stop()

    async def _answer(self, event: Event) -> int | None:
        self.requests += 1
        self._function.events.clear()  # the list would grow without limit, and only the counts are used
        outcome = self._chance.random()
        if outcome < 0.02:
            return None
        if outcome < 0.05:
            return 500
        self.acknowledged.add((event.document, event.headers["ce-id"].rsplit("-", 1)[0]))
        return 200

    def missing(self, changes: list[Change]) -> list[str]:
        """Return the documents of the changes whose events were never acknowledged."""
        return [each.name for each in changes if self._key(each) not in self.acknowledged]

    @staticmethod
    def _key(change: Change) -> tuple[str, str]:
        return change.name.split("/", 5)[5], f"{change.commit_time:x}-{change.sequence:x}"
