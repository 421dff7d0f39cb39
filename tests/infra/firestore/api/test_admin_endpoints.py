"""The HTTP endpoints for operators and tests."""

import contextlib
import http.client
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.infra.firestore.server_process import FirestoreProcess
from tests.ports import free_port
from tests.stack import PATIENCE_SECONDS

DOCUMENTS = "/emulator/v1/projects/p/databases/(default)/documents"
PUBLIC = [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")]
OPERATOR = [
    ("DELETE", DOCUMENTS),
    ("GET", "/eventarc/undelivered"),
    ("GET", "/eventarc/dead-letters"),
    ("POST", "/eventarc/dead-letters/resend"),
]
PAGES = (
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-origin"},
    {"host": "evil.example"},
    {"host": "127.0.0.1.evil.example:80"},
    {"host": "[::1"},
)
"""Headers of requests that a page in a browser causes, the last ones by a name that resolves to loopback."""


def send(port: int, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> str:
    """Send a request and return the body of the response."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers=dict(headers or {}))
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
        return str(response.read().decode())


def test_health_metrics_and_deleting_a_database(tmp_path: Path) -> None:
    """Deleting one database leaves the documents of the others. Pages in a browser cannot delete one."""
    port = free_port()
    firestore = FirestoreProcess(tmp_path, "--http-port", str(port))
    firestore.start()
    try:
        client = firestore.client()
        for number in range(3):
            client.document(f"a/{number}/b/{number}").set({"n": number})

        health = [send(port, path) for path in ("/healthz", "/readyz")]
        metrics = send(port, "/metrics")
        refused = []
        for headers in PAGES:
            with pytest.raises(urllib.error.HTTPError) as error:
                send(port, DOCUMENTS, "DELETE", headers)
            refused.append(error.value.code)
            error.value.close()
        by_user = send(port, "/healthz", "GET", {"sec-fetch-site": "none"})
        deleted_elsewhere = send(port, "/emulator/v1/projects/other/databases/(default)/documents", "DELETE")
        remaining = len(client.collection_group("b").get())
        send(port, DOCUMENTS, "DELETE")

        assert refused == [403] * len(PAGES)
        assert [*health, by_user] == ["ok\n"] * 3
        assert 'firestore_calls_total{code="OK",method="Commit"} 3' in metrics
        assert "\nfirestore_file_unused_bytes " in metrics
        assert deleted_elsewhere == '{"deleted": 0}'
        assert (remaining, len(client.collection_group("b").get())) == (3, 0)
    finally:
        firestore.close()


def test_a_server_with_a_token_refuses_operators_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the port and on the Unix socket. Probes need no token. A page is refused also with the token."""
    monkeypatch.setenv("DROPZONE_FIRESTORE_TOKEN", "sécret")
    port, path = free_port(), tmp_path / "http"
    connections: list[Callable[[], http.client.HTTPConnection]] = [
        partial(http.client.HTTPConnection, "127.0.0.1", port),
        partial(_UnixConnection, path),
    ]
    triggers = tmp_path / "triggers.toml"
    triggers.write_text("")
    firestore = FirestoreProcess(
        tmp_path, "--http-port", str(port), "--http-socket", str(path), "--triggers", str(triggers)
    )
    firestore.start()
    try:
        for connect in connections:
            for sent in (None, b"Bearer owner", "sécret".encode(), b"Bearer s\xff"):
                assert _statuses(connect, sent) == [200] * len(PUBLIC) + [401] * len(OPERATOR)
            assert _statuses(connect, "Bearer sécret".encode()) == [200] * (len(PUBLIC) + len(OPERATOR))
            assert _statuses(connect, "Bearer sécret".encode(), origin=b"null") == [403] * (len(PUBLIC) + len(OPERATOR))
            _, answer = _answer(connect(), "DELETE", DOCUMENTS, {})
            assert "set DROPZONE_FIRESTORE_TOKEN" in answer
    finally:
        firestore.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def _statuses(
    connect: Callable[[], http.client.HTTPConnection], authorization: bytes | None, **headers: bytes
) -> list[int]:
    if authorization is not None:
        headers["authorization"] = authorization
    return [_answer(connect(), method, path, headers)[0] for method, path in [*PUBLIC, *OPERATOR]]


def _answer(
    connection: http.client.HTTPConnection, method: str, path: str, headers: Mapping[str, bytes]
) -> tuple[int, str]:
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
