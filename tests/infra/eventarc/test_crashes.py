"""After kill -9 of the Firestore process, every acknowledged write still becomes an event."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient

from tests.infra.eventarc.machine import PATIENCE_SECONDS, Event, Function, until
from tests.ports import free_port

_anonymous: Any = AnonymousCredentials


class Process:
    """`python -m infra.embedded.firestore`, which a test kills and restarts."""

    def __init__(self, folder: Path, function: Function) -> None:
        self.port = free_port()
        self._folder = folder
        (folder / "triggers.toml").write_text(
            '[[triggers]]\nname = "t"\nevent_type = "google.cloud.firestore.document.v1.written"\n'
            f'document = "samples/{{sample}}"\nurl = "{function.url}"\nmin_backoff_seconds = 0.02\n'
        )
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Start the process and wait until it logs that it is ready."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "infra.embedded.firestore", "--port", str(self.port)),
            *("--data", str(self._folder / "data.sqlite"), "--triggers", str(self._folder / "triggers.toml")),
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            if b"FIRESTORE_EMULATOR_HOST" in line:
                return
        raise AssertionError("the process did not start")

    async def kill(self) -> None:
        """Kill the process with SIGKILL."""
        os.kill(self._process.pid, signal.SIGKILL)
        await self._process.wait()


@pytest.fixture
async def process(tmp_path: Path, function: Function) -> AsyncIterator[Process]:
    """A Firestore process that delivers to the function."""
    process = Process(tmp_path, function)
    await process.start()
    yield process
    await process.kill()


def client(process: Process) -> Any:
    """Return Google's client for this process."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{process.port}")
        return AsyncClient(project="p", credentials=_anonymous())


async def write_some(process: Process, prefix: str, acknowledged: list[str]) -> None:
    """Write one document after the other until the server is killed."""
    firestore = client(process)
    try:
        for number in range(10_000):
            path = f"samples/{prefix}-{number}"
            await firestore.document(path).set({}, timeout=PATIENCE_SECONDS, retry=None)
            acknowledged.append(path)
    except GoogleAPICallError:
        return
    finally:
        firestore.close()


async def test_every_acknowledged_write_becomes_an_event_although_the_server_is_killed_repeatedly(
    process: Process, function: Function
) -> None:
    """The function also fails at random. All attempts to send an event have the same id."""
    chance = random.Random(20261123)

    async def fail_at_random(_: Event) -> int | None:
        return chance.choice((200, 200, 200, 500, None))

    function.respond = fail_at_random
    acknowledged: list[str] = []

    for round_number in range(6):
        writers = [
            asyncio.create_task(write_some(process, f"{round_number}-{writer}", acknowledged)) for writer in range(8)
        ]
        stored_before_kill = len(acknowledged) + chance.randint(5, 60)
        await until(lambda count=stored_before_kill: len(acknowledged) >= count)  # type: ignore[misc]  # a default binds it
        await process.kill()
        await asyncio.gather(*writers)
        await process.start()
    function.respond = function.acknowledge
    await until(lambda: set(acknowledged) <= set(function.documents))

    ids = {(event.document, event.id) for event in function.events}
    assert len(ids) == len({document for document, _ in ids}) == len({identity for _, identity in ids})


async def test_events_wait_over_a_restart_for_a_function_that_is_down(process: Process, function: Function) -> None:
    """The server is killed while all events wait. None of them is lost."""
    await function.stop()
    firestore = client(process)
    names = [f"samples/{number}" for number in range(50)]
    await asyncio.gather(*(firestore.document(name).set({}) for name in names))
    firestore.close()

    await process.kill()
    await process.start()
    await function.start()
    await until(lambda: len(function.events) >= 50)

    assert sorted(function.documents) == sorted(names)
