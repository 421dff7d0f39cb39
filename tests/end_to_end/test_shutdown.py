"""API and function complete their requests in progress after SIGTERM, and end even if Firestore does not respond."""

import asyncio
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from graphql_api.configuration.settings import Settings
from infra.embedded.supervisor import STOP_SECONDS
from tests.ports import free_port
from tests.stack import FIXTURE
from tests.triggers.machine import PROJECT, Machine, Process, event_body, event_headers
from tests.triggers.samples import new_sample

SHUTDOWN_SECONDS = 300
"""More than a busy machine needs. A shutdown that waits for this time fails the test by its timeout."""


def api(machine: Machine, **settings: str) -> Process:
    """Return an API that uses the Firestore of the machine, with the port in the variable of Cloud Run."""
    port = free_port()
    environment = {
        "PORT": str(port),
        "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{machine.firestore.port}",
        "GOOGLE_CLOUD_PROJECT": PROJECT,
    }
    return Process(port, "-m graphql_api", machine.folder, environment | settings)


def function(machine: Machine) -> Process:
    """Return another function, as that of the machine."""
    port = free_port()
    return Process(port, "-m triggers", machine.folder, {**machine.function.environment, "PORT": str(port)})


@pytest.fixture(scope="module")
async def machine(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> AsyncIterator[Machine]:
    """A Firestore and the function, which the last test ends."""
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.function.environment = dict(machine.function.environment) | {
        "DROPZONE_SHUTDOWN_SECONDS": str(SHUTDOWN_SECONDS)
    }
    await machine.start()
    yield machine
    await machine.stop()


@pytest.fixture(scope="module")
def key(machine: Machine) -> str:
    """A key of the API."""
    command = [sys.executable, "-m", "graphql_api.auth.keys", "create", "--submitter", "one", "--scopes", "submit"]
    environment = os.environ | api(machine).environment
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@asynccontextmanager
async def request_in_progress(port: int, path: str, headers: dict[str, str]) -> AsyncIterator[Any]:
    """Send the headers of a request. Its body is expected now."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "expect: 100-continue"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    yield reader, writer
    writer.close()


@contextmanager
def stopped(process: Process) -> Iterator[None]:
    """Stop a process as a debugger does, and continue it."""
    assert process.running is not None
    process.running.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.running.send_signal(signal.SIGCONT)


async def stops_to_listen(process: Process) -> None:
    """Send SIGTERM and wait until the process refuses connections."""
    assert process.running is not None
    process.running.terminate()
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", process.port)
        except (ConnectionRefusedError, ConnectionResetError):  # reset: the socket was closed at this moment
            return
        writer.close()
        await asyncio.sleep(0.01)


async def refused_readiness(machine: Machine) -> httpx.Response:
    """Wait until the function says that it is not ready. Requests share an earlier result for a moment."""
    while True:
        response = await machine.http.get("/readyz")
        if response.status_code != 200:
            return response
        await asyncio.sleep(0.05)


async def exit_code(process: Process) -> int:
    """Wait for the end of a process."""
    assert process.running is not None
    return await process.running.wait()


async def test_the_api_completes_a_submission_in_progress(machine: Machine, key: str) -> None:
    """The client gets its receipt, and the API ends."""
    process = api(machine, DROPZONE_SHUTDOWN_SECONDS=str(SHUTDOWN_SECONDS))
    await process.start()
    body = FIXTURE.read_bytes()
    headers = {"x-api-key": key, "content-type": "application/json", "content-length": str(len(body))}

    async with request_in_progress(process.port, "/samples", headers) as (reader, writer):
        await stops_to_listen(process)
        writer.write(body)
        response = await reader.read()

    assert response.startswith(b"HTTP/1.1 201 ")
    assert await exit_code(process) == 0


@pytest.mark.parametrize("module", ["graphql_api", "triggers"])
async def test_ctrl_c_ends_a_process_without_a_traceback(machine: Machine, module: str) -> None:
    """In a terminal, or in a container with `docker run -it`."""
    process = api(machine) if module == "graphql_api" else function(machine)
    await process.start()
    assert process.running is not None

    process.running.send_signal(signal.SIGINT)

    assert await exit_code(process) == 0
    assert "Traceback" not in process.log.read_text()


async def test_the_api_ends_although_firestore_does_not_respond(machine: Machine, key: str) -> None:
    """The client is told to send the sample again. No write delays the end."""
    process = api(machine, DROPZONE_WRITE_TIMEOUT_SECONDS=str(SHUTDOWN_SECONDS))
    await process.start()
    body = FIXTURE.read_bytes()
    headers = {"x-api-key": key, "content-type": "application/json", "content-length": str(len(body))}

    async with request_in_progress(process.port, "/samples", headers) as (reader, writer):
        with stopped(machine.firestore):
            writer.write(body)
            await stops_to_listen(process)
            response = await reader.read()
            code = await exit_code(process)

    assert response.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in response
    assert code == 0


async def test_the_function_is_ready_while_firestore_responds(machine: Machine) -> None:
    """A liveness probe succeeds in any case: a restart of the function would not help."""
    assert (await machine.http.get("/readyz")).status_code == 200
    assert (await machine.http.post("/readyz")).status_code == 405

    with stopped(machine.firestore):
        unready = await refused_readiness(machine)
        assert (unready.status_code, unready.headers["retry-after"]) == (503, "1")
        assert (await machine.http.get("/healthz")).status_code == 200


async def test_the_function_completes_an_event_in_progress(machine: Machine) -> None:
    """Its result is stored, the response says so, and the function ends."""
    function = machine.function
    sample = new_sample("one", 0.5, 1.5)
    document = await machine.store(sample)
    body = event_body(document)
    headers = event_headers(document.name.partition("/documents/")[2]) | {"content-length": str(len(body))}

    async with request_in_progress(function.port, "/", headers) as (reader, writer):
        await stops_to_listen(function)
        writer.write(body)
        response = await reader.read()

    assert response.startswith(b"HTTP/1.1 200 ")
    assert (await machine.result(sample)).get("mean") == 1.0
    assert await exit_code(function) == 0


def test_the_supervisor_waits_for_requests_in_progress() -> None:
    """It stops one process after the other. The function and Firestore stopped while the API still used them."""
    stack = tomllib.loads(Path("infra/embedded/stack.toml").read_text())
    servers = [process for process in stack["processes"] if not process.get("once")]

    assert STOP_SECONDS / len(servers) > 2 * Settings().shutdown_seconds
