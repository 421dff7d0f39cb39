"""The whole stack as a test's subject: started by its documented command, spoken to over its ports."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import pytest
from google.cloud.firestore import AsyncClient, Client

from tests.ports import free_port

T = TypeVar("T")
FIXTURE = Path("fixture/sample.json")
RECEIPT = "id state problems { path code message }"
SUBMIT = (
    f"mutation ($sample: RawSample!, $key: String) {{ submit(sample: $sample, idempotencyKey: $key) {{ {RECEIPT} }} }}"
)
SAMPLE = f"query ($id: ID!) {{ sample(id: $id) {{ {RECEIPT} result {{ timestamp mean standardDeviation count }} }} }}"
_PATIENCE_SECONDS = 30.0


class Stack(AbstractContextManager["Stack"]):
    """A running stack. `url` and `key` are what a client needs."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "stack.log"
        self.api_port, self.firestore_port, self.function_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.api_port}"
        self.environment = os.environ | {
            "DROPZONE_HOST": "127.0.0.1",
            "DROPZONE_API_PORT": str(self.api_port),
            "DROPZONE_FIRESTORE_PORT": str(self.firestore_port),
            "DROPZONE_FUNCTION_PORT": str(self.function_port),
            "DROPZONE_DATA_DIR": str(self._data),
            **settings,
        }
        self._client = httpx.Client(base_url=self.url, timeout=_PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self.stop()

    def start(self) -> None:
        """Start the stack and wait until it serves."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "infra.embedded"], env=self.environment, stdout=log, stderr=log
            )
        eventually(self.is_ready, lambda: self._log.read_text())

    def stop(self) -> None:
        """Stop the stack as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(_PATIENCE_SECONDS)

    def is_ready(self) -> bool:
        """Tell whether the API takes requests and reaches Firestore."""
        assert self._process.poll() is None, self._log.read_text()
        try:
            return self._client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def key(self) -> str:
        """The key that the stack made for itself."""
        return (self._data / "api-key").read_text().strip()

    @property
    def log(self) -> str:
        """Everything that the stack has said."""
        return self._log.read_text()

    def new_key(self, submitter: str, scopes: str = "submit,read", *options: str) -> str:
        """Make a key as an operator does."""
        return self.keys("create", "--submitter", submitter, "--scopes", scopes, *options).strip()

    def keys(self, *arguments: str) -> str:
        """Return what the command for keys prints."""
        command = [sys.executable, "-m", "graphql_api.auth.keys", *arguments]
        environment = self.environment | self.firestore_environment
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    @property
    def firestore_environment(self) -> dict[str, str]:
        """What points Google's clients at this Firestore."""
        return {
            "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{self.firestore_port}",
            "GOOGLE_CLOUD_PROJECT": "dropzone-local",
        }

    def graphql(self, query: str, variables: dict[str, Any] | None = None, *, key: str | None = None) -> Any:
        """Return the data of an answer that has no errors."""
        answer = self.post_graphql(query, variables, key=key).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def post_graphql(
        self, query: str, variables: dict[str, Any] | None = None, *, key: str | None = None
    ) -> httpx.Response:
        """Return the whole HTTP answer."""
        body = {"query": query, "variables": variables or {}}
        return self._client.post("/graphql", json=body, headers={"x-api-key": key or self.key})

    def post_body(self, body: bytes, *, key: str | None = None) -> httpx.Response:
        """Post the text of a GraphQL request and return the whole HTTP answer."""
        headers = {"x-api-key": key or self.key, "content-type": "application/json"}
        return self._client.post("/graphql", content=body, headers=headers)

    def submit_fixture(self, *, key: str | None = None) -> Any:
        """Submit the fixture, its text unchanged as the variable, and return the receipt."""
        body = b'{"query": %s, "variables": {"sample": %s}}' % (json.dumps(SUBMIT).encode(), FIXTURE.read_bytes())
        answer = self.post_body(body, key=key).json()
        assert "errors" not in answer, answer
        return answer["data"]["submit"]

    def submit(self, sample: object, *, key: str | None = None, idempotency_key: str | None = None) -> Any:
        """Submit a sample as a GraphQL variable and return the receipt."""
        return self.graphql(SUBMIT, {"sample": sample, "key": idempotency_key}, key=key)["submit"]

    def post_sample(self, raw: bytes, **headers: str) -> httpx.Response:
        """Submit bytes over plain HTTP."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.post(
            "/samples", content=raw, headers={"x-api-key": self.key, "content-type": "application/json"} | named
        )

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Get any path, with the key."""
        return self._client.get(path, headers={"x-api-key": self.key} | headers)

    def sample(self, sample_id: str, *, key: str | None = None) -> Any:
        """Return a sample with its state and result, as a client sees it."""
        return self.graphql(SAMPLE, {"id": sample_id}, key=key)["sample"]

    def wait_for(self, sample_id: str, state: str = "COMPUTED") -> Any:
        """Return a sample once it has come to `state`."""
        return eventually(lambda: (seen := self.sample(sample_id))["state"] == state and seen, lambda: self.log)

    def pids_of(self, words: str, parent: int | None = None) -> list[int]:
        """Return the processes of this stack, or those that `parent` started, whose commands hold `words`."""
        listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,ppid=,command="], check=True, stdout=subprocess.PIPE)
        lines = (line.split(maxsplit=2) for line in listed.stdout.decode().splitlines())
        wanted = str(parent or self._process.pid)
        return [int(pid) for pid, started_by, command in lines if started_by == wanted and words in command]

    def pid_of(self, words: str) -> int:
        """Return the process of this stack whose command holds `words`."""
        found = self.pids_of(words)
        if not found:
            raise LookupError(f"this stack has no process with {words}")
        return found[0]

    def firestore_pid(self) -> int:
        """Return the Firestore process."""
        return self.pid_of("infra.embedded.firestore")

    def function_pid(self) -> int:
        """Return the process of the trigger function."""
        return self.pid_of("functions_framework")

    def api_pid(self) -> int:
        """Return the process of the API."""
        return self.pid_of("-m graphql_api")

    def firestore(self) -> Client:
        """Return Google's client of this stack's Firestore, made as its documentation says."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.firestore_environment.items():
                patch.setenv(name, value)
            return Client()

    def async_firestore(self) -> AsyncClient:
        """Return Google's asynchronous client of this stack's Firestore."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.firestore_environment.items():
                patch.setenv(name, value)
            return AsyncClient()


def eventually(condition: Callable[[], T], explain: Callable[[], str] = str) -> T:
    """Return what `condition` gives once it is true; fail after a long time with what `explain` says."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {_PATIENCE_SECONDS} s:\n{explain()}")
        time.sleep(0.02)
    return value
