"""The whole stack: started by its documented command, and used over its ports."""

import io
import json
import os
import resource
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from unittest.mock import patch

import httpx
import pytest
from google.cloud.firestore import AsyncClient, Client

from graphql_api.auth import keys
from graphql_api.auth.api_keys import ApiKey, new_key
from graphql_api.auth.secret_text import digest
from graphql_api.scopes import Scope
from storage.documents import document_paths
from tests.ports import free_port

T = TypeVar("T")
FIXTURE = Path("fixture/sample.json")
RECEIPT = "id state problems { path code message }"
SUBMIT = (
    f"mutation ($sample: RawSample!, $key: String) {{ submit(sample: $sample, idempotencyKey: $key) {{ {RECEIPT} }} }}"
)
SAMPLE = f"query ($id: ID!) {{ sample(id: $id) {{ {RECEIPT} result {{ timestamp mean standardDeviation count }} }} }}"

STACK_FILE = os.environ.get("TEST_STACK_FILE", "")
"""Another stack file for all stacks of the tests: the one with Google's emulator."""

PATIENCE_SECONDS = 240.0 if STACK_FILE else 60.0  # Java starts slowly

needs_embedded_firestore = pytest.mark.skipif(
    bool(STACK_FILE), reason="the emulator keeps documents in memory only, and its snapshots can be incomplete"
)


class Stack(AbstractContextManager["Stack"]):
    """A running stack. A client needs its `url` and `key`."""

    submitter = "local"
    """The submitter of the key."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "stack.log"
        self.api_port, self.firestore_port, self.function_port = free_port(), free_port(), free_port()
        certificate = settings.get("DROPZONE_TLS_CERTIFICATE_FILE")
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.api_port}"
        self.tls = ssl.create_default_context(cafile=certificate) if certificate else None
        self.environment = os.environ | {
            "DROPZONE_HOST": "127.0.0.1",
            "DROPZONE_API_PORT": str(self.api_port),
            "DROPZONE_FIRESTORE_PORT": str(self.firestore_port),
            "DROPZONE_FUNCTION_PORT": str(self.function_port),
            "DROPZONE_DATA_DIR": str(self._data),
            "DROPZONE_LOG_FORMAT": "text",
            **settings,
        }
        self._client = httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS, verify=self.tls or True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self.stop()

    def start(self, *options: str) -> None:
        """Start the stack with options of the command, and wait until it is ready."""
        file = ["--stack", STACK_FILE] if STACK_FILE else []
        self._start("infra.embedded", *file, *options)

    def _start(self, module: str, *options: str) -> None:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", module, *options]
            self._process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        try:
            eventually(self.is_ready, lambda: self.log)
        except BaseException:
            self.kill_supervisor()  # a process that is left would fail a later test with a `ResourceWarning`
            raise

    def stop(self) -> None:
        """Stop the stack with SIGINT, like Ctrl-C."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE_SECONDS)

    def kill_supervisor(self) -> None:
        """Kill the process that runs the stack."""
        self._process.kill()
        self._process.wait()

    def is_ready(self) -> bool:
        """Return whether the API accepts requests and reaches Firestore."""
        assert self._process.poll() is None, self._log.read_text()
        try:
            return self._client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        return self._process.pid

    @property
    def key(self) -> str:
        """The local key that the stack created."""
        return self.key_file.read_text().strip()

    @property
    def key_file(self) -> Path:
        """The file of the local key, in the data folder."""
        return self._data / "api-key"

    @property
    def data_file(self) -> Path:
        """The data file of Firestore."""
        return self._data / "firestore.sqlite"

    @property
    def log(self) -> str:
        """Everything that the stack has printed."""
        return self._log.read_text()

    def new_key(self, submitter: str, scopes: str = "submit,read", *options: str, label: str = "") -> str:
        """Create a key: with the keys command if there are `options` of it."""
        if options:
            assert not label, "expected the label among the options"
            return self.keys("create", "--submitter", submitter, "--scopes", scopes, *options).strip()
        key = new_key()
        stored = ApiKey(submitter, frozenset(map(Scope, scopes.split(","))), label=label, created=datetime.now(UTC))
        firestore: Any = self.firestore()  # `close` has no type
        firestore.document(document_paths.api_key(digest(key))).set(stored.fields())
        firestore.close()
        return key

    def keys(self, *arguments: str) -> str:
        """Run the keys command in this process; return its output. Raises `SystemExit` if the command fails."""
        return self.run(keys.main, *arguments)

    def run(self, command: Callable[[Sequence[str]], None], *arguments: str) -> str:
        """Run a command in this process, which needs less CPU time than a process of its own; return its output."""
        output = io.StringIO()
        with patch.dict(os.environ, self.environment | self.firestore_environment), redirect_stdout(output):
            command(arguments)
        return output.getvalue()

    @property
    def firestore_environment(self) -> dict[str, str]:
        """The environment variables with which Google's clients use this Firestore."""
        return {
            "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{self.firestore_port}",
            "GOOGLE_CLOUD_PROJECT": "dropzone-local",
        }

    def graphql(self, query: str, variables: dict[str, Any] | None = None, *, key: str | None = None) -> Any:
        """Run a GraphQL operation; fail if there are errors, else return the data."""
        response = self.post_graphql(query, variables, key=key).json()
        assert "errors" not in response, response
        return response["data"]

    def post_graphql(
        self, query: str, variables: dict[str, Any] | None = None, *, key: str | None = None
    ) -> httpx.Response:
        """Run a GraphQL operation; return the HTTP response."""
        body = {"query": query, "variables": variables or {}}
        return self._client.post("/graphql", json=body, headers={"x-api-key": key or self.key})

    def post_body(self, body: bytes, *, key: str | None = None) -> httpx.Response:
        """Send the body of a GraphQL request; return the HTTP response."""
        headers = {"x-api-key": key or self.key, "content-type": "application/json"}
        return self._client.post("/graphql", content=body, headers=headers)

    def submit_fixture(self, *, key: str | None = None) -> Any:
        """Submit the fixture, byte for byte as a variable; return the receipt."""
        body = b'{"query": %s, "variables": {"sample": %s}}' % (json.dumps(SUBMIT).encode(), FIXTURE.read_bytes())
        response = self.post_body(body, key=key).json()
        assert "errors" not in response, response
        return response["data"]["submit"]

    def submit(self, sample: object, *, key: str | None = None, idempotency_key: str | None = None) -> Any:
        """Submit a sample as a GraphQL variable; return the receipt."""
        return self.graphql(SUBMIT, {"sample": sample, "key": idempotency_key}, key=key)["submit"]

    def post_sample(self, raw: bytes, **headers: str) -> httpx.Response:
        """Submit bytes to `POST /samples`; return the HTTP response."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.post(
            "/samples", content=raw, headers={"x-api-key": self.key, "content-type": "application/json"} | given
        )

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Request a path with the local key."""
        return self._client.get(path, headers={"x-api-key": self.key} | headers)

    def stream(self, method: str, path: str, **options: Any) -> AbstractContextManager[httpx.Response]:
        """Send a request whose response is read while it arrives."""
        return self._client.stream(method, path, **options)

    def sample(self, sample_id: str, *, key: str | None = None) -> Any:
        """Return a sample with its state and result over GraphQL."""
        return self.graphql(SAMPLE, {"id": sample_id}, key=key)["sample"]

    def wait_for(self, sample_id: str, state: str = "COMPUTED", *, key: str | None = None) -> Any:
        """Wait until a sample is in `state`; return the sample."""
        return eventually(
            lambda: (sample := self.sample(sample_id, key=key))["state"] == state and sample, lambda: self.log
        )

    def pids_of(self, words: str, parent: int | None = None) -> list[int]:
        """Return the child processes of the stack, or of `parent`, whose commands contain `words`."""
        listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,ppid=,command="], check=True, stdout=subprocess.PIPE)
        lines = (line.split(maxsplit=2) for line in listed.stdout.decode().splitlines())
        parent_pid = str(parent or self._process.pid)
        return [int(pid) for pid, ppid, command in lines if ppid == parent_pid and words in command]

    def pid_of(self, words: str) -> int:
        """Return the process of the stack whose command contains `words`."""
        pids = self.pids_of(words)
        if not pids:
            raise LookupError(f"the stack has no process whose command contains {words}")
        return pids[0]

    def firestore_pid(self) -> int:
        """Return the Firestore process."""
        return self.pid_of("infra.embedded.firestore")

    def refuse_firestore_writes(self) -> None:
        """Let Firestore write no more than 4 KiB to a file, as on a full disk. Linux only."""
        resource.prlimit(self.firestore_pid(), resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    def accept_firestore_writes(self) -> None:
        """End the effect of `refuse_firestore_writes`."""
        resource.prlimit(self.firestore_pid(), resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def function_pid(self) -> int:
        """Return the process of the trigger function, or the first of several."""
        return self.function_pids()[0]

    def function_pids(self) -> list[int]:
        """Return the processes of the trigger function."""
        return self.pids_of("-m triggers")

    def api_pid(self) -> int:
        """Return the process of the API."""
        return self.pid_of("-m graphql_api")

    def firestore(self) -> Client:
        """Return Google's client of this Firestore."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.firestore_environment.items():
                patch.setenv(name, value)
            return Client()

    def async_firestore(self) -> AsyncClient:
        """Return Google's asynchronous client of this Firestore."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.firestore_environment.items():
                patch.setenv(name, value)
            return AsyncClient()


def eventually(
    condition: Callable[[], T], explain: Callable[[], str] = str, *, patience_seconds: float = PATIENCE_SECONDS
) -> T:
    """Wait until `condition` returns a true value; return it. After a generous deadline, fail with `explain`."""
    deadline = time.monotonic() + patience_seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"the condition did not become true within {patience_seconds:g} s:\n{explain()}")
        time.sleep(0.02)
    return value


@contextmanager
def suspended(pid: int) -> Iterator[None]:
    """Suspend a process. On a slow machine, the supervisor can kill the process and start another one in this time."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
