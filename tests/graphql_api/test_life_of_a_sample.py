"""docs/architecture.md says which files run in the API for one small sample, until it is sent to Firestore."""

import asyncio
import re
import socket
import threading
from contextlib import closing
from http.client import HTTPResponse
from pathlib import Path
from types import FrameType

import pytest

from graphql_api.app import create_app
from graphql_api.configuration.limits import Limits
from graphql_api.configuration.settings import Settings
from graphql_api.graphql_server import Server
from observability import request_context
from storage.firestore.database import Database
from tests.graphql_api.graphql_server.service import UNLIMITED_MIB, serving
from tests.stack import PATIENCE_SECONDS, Stack

ROOT = f"{Path.cwd()}/"
PACKAGES = ("graphql_api/", "observability/", "runtime/", "storage/")
LAST_FUNCTION = Database.batch_write.__qualname__
SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%b]}' % b", ".join(b"%d.5" % number for number in range(100))


class Profiler:
    """Records the files that run, until a BatchWrite starts. Tasks that serve no request are left out."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.is_recording = False

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """Record a call."""
        if event != "call" or not self.is_recording or not frame.f_code.co_filename.startswith(ROOT):
            return
        file = frame.f_code.co_filename.removeprefix(ROOT)
        if file.startswith(PACKAGES) and (request_context.current() or is_callback()):
            self.files.add(file)
            self.is_recording = frame.f_code.co_qualname != LAST_FUNCTION


def is_callback() -> bool:
    """Return whether the event loop calls a function outside of tasks, for example because data has arrived."""
    try:
        return asyncio.current_task() is None
    except RuntimeError:  # a thread without an event loop
        return False


def documented_files() -> set[str]:
    """Return the files of the steps up to the BatchWrite."""
    section = Path("docs/architecture.md").read_text().partition("## The life of a sample")[2]
    steps = re.findall(r"^\| \d+\. .* \| (.*) \|$", section, re.MULTILINE)
    return {file for step in steps[:5] for file in re.findall(r"`([^`]*)`", step)}


def used_files(stack: Stack, monkeypatch: pytest.MonkeyPatch, path: str, body: bytes) -> set[str]:
    """Return the files that run for each of several equal requests, until the sample is sent to Firestore.

    A file that runs only by chance, such as one of a timer, does not run for each of them.
    """
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    app = create_app(Settings(limits=Limits(max_memory_mib=UNLIMITED_MIB)))
    headers = f"host: x\r\nx-api-key: {stack.new_key('way')}\r\ncontent-type: application/json\r\n"
    request = f"POST {path} HTTP/1.1\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body
    profiler = Profiler()
    threading.setprofile(profiler)  # applies to threads that start from now on
    files_by_request = []
    try:
        with (
            serving(Server(app, app.state.budgets)) as (port, _),
            closing(socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)) as client,
        ):
            for _ in range(5):
                profiler.files, profiler.is_recording = set(), True
                client.sendall(request)
                response = HTTPResponse(client)
                response.begin()
                assert b"PENDING" in response.read()
                files_by_request.append(profiler.files)
    finally:
        threading.setprofile(None)
    return set.intersection(*files_by_request[1:])  # the first request fills caches


def test_the_documented_files_run(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """`POST /samples` uses the files of the first steps, and no other file."""
    assert used_files(stack, monkeypatch, "/samples", SAMPLE) == documented_files()


def test_the_documented_number_of_files_runs_for_graphql(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutation `submit` uses more files, and the text below the table says how many."""
    query = b"mutation ($sample: RawSample!) { submit(sample: $sample) { id state } }"
    body = b'{"query": "%b", "variables": {"sample": %b}}' % (query, SAMPLE)
    documented = re.search(r"Steps 1 to 5 then use (\d+) files", Path("docs/architecture.md").read_text())

    used = used_files(stack, monkeypatch, "/graphql", body)

    assert documented is not None
    assert len(used) == int(documented[1]), sorted(used)
