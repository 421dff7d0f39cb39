"""The HTTP endpoints for operators and tests."""

import urllib.request
from pathlib import Path

from tests.infra.firestore.server_process import FirestoreProcess
from tests.ports import free_port
from tests.stack import PATIENCE_SECONDS


def send(port: int, path: str, method: str = "GET") -> str:
    """Send a request and return the body of the response."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
        return str(response.read().decode())


def test_health_metrics_and_deleting_a_database(tmp_path: Path) -> None:
    """Deleting one database leaves the documents of the others."""
    port = free_port()
    firestore = FirestoreProcess(tmp_path, "--http-port", str(port))
    firestore.start()
    try:
        client = firestore.client()
        for number in range(3):
            client.document(f"a/{number}/b/{number}").set({"n": number})

        health = [send(port, path) for path in ("/healthz", "/readyz")]
        metrics = send(port, "/metrics")
        deleted_elsewhere = send(port, "/emulator/v1/projects/other/databases/(default)/documents", "DELETE")
        remaining = len(client.collection_group("b").get())
        send(port, "/emulator/v1/projects/p/databases/(default)/documents", "DELETE")

        assert health == ["ok\n", "ok\n"]
        assert 'firestore_calls_total{code="OK",method="Commit"} 3' in metrics
        assert deleted_elsewhere == '{"deleted": 0}'
        assert (remaining, len(client.collection_group("b").get())) == (3, 0)
    finally:
        firestore.close()
