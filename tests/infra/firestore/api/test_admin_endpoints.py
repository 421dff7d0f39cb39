"""The HTTP endpoints for operators and tests."""

import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.infra.firestore.server_process import FirestoreProcess
from tests.ports import free_port
from tests.stack import PATIENCE_SECONDS

DOCUMENTS = "/emulator/v1/projects/p/databases/(default)/documents"
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
        assert deleted_elsewhere == '{"deleted": 0}'
        assert (remaining, len(client.collection_group("b").get())) == (3, 0)
    finally:
        firestore.close()
