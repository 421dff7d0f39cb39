"""What operators and tests ask over HTTP."""

import urllib.request
from pathlib import Path

from tests.infra.firestore.server_process import FirestoreProcess
from tests.ports import free_port


def ask(port: int, path: str, method: str = "GET") -> str:
    """Make a request and return the body of its answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def test_health_metrics_and_the_reset_are_there(tmp_path: Path) -> None:
    """A reset empties one database and leaves the others alone."""
    port = free_port()
    firestore = FirestoreProcess(tmp_path, "--http-port", str(port))
    firestore.start()
    try:
        client = firestore.client()
        for number in range(3):
            client.document(f"a/{number}/b/{number}").set({"n": number})

        answers = [ask(port, path) for path in ("/healthz", "/readyz")]
        metrics = ask(port, "/metrics")
        emptied = ask(port, "/emulator/v1/projects/other/databases/(default)/documents", "DELETE")
        kept = len(client.collection_group("b").get())
        ask(port, "/emulator/v1/projects/p/databases/(default)/documents", "DELETE")

        assert answers == ["ok\n", "ok\n"]
        assert 'firestore_calls_total{method="Commit",code="OK"} 3' in metrics
        assert emptied == '{"deleted": 0}'
        assert (kept, len(client.collection_group("b").get())) == (3, 0)
    finally:
        firestore.close()
