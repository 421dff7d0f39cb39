"""The metrics of a process together with those of its sources."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from observability.metrics import exposition

TEXT = b"""# HELP example_total An example.
# TYPE example_total counter
example_total{code="OK"} 3.0
# HELP process_open_fds Number of open file descriptors.
# TYPE process_open_fds gauge
process_open_fds 7.0
"""

OTHER_TEXTS = {"/page": b"<html>Sign in</html>\n", "/binary": b"\xff 1\n", "/part": b'example_total{code="'}
"""What another server responds with the status 200, by path."""


@pytest.fixture
def source() -> Iterator[str]:
    """A process that serves `TEXT`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if self.path == "/nothing" else 200)
            self.end_headers()
            self.wfile.write(OTHER_TEXTS.get(self.path, TEXT))

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_metrics_of_a_source_get_its_name_as_a_label(source: str) -> None:
    """A metric that both processes have is one family."""
    text = exposition({"other": f"{source}/metrics"}).decode()

    samples = {
        (sample.name, sample.labels.get("process")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["example_total", "other"] == 3
    assert samples["process_open_fds", "other"] == 7
    assert samples["dropzone_source_up", "other"] == 1
    assert text.count("# TYPE process_open_fds ") <= 1
    assert "# HELP example_total An example." in text


def test_a_source_that_does_not_respond_does_not_affect_the_others(source: str, tmp_path: Path) -> None:
    """Neither does a source that responds with an error."""
    sources = {"up": f"{source}/metrics", "gone": f"unix:{tmp_path}/none:/metrics", "wrong": f"{source}/nothing"}

    lines = exposition(sources).decode().splitlines()

    assert [line for line in lines if line.startswith("dropzone_source_up")] == [
        'dropzone_source_up{process="up"} 1.0',
        'dropzone_source_up{process="gone"} 0.0',
        'dropzone_source_up{process="wrong"} 0.0',
    ]


def test_a_source_that_returns_no_metrics_does_not_affect_the_others(source: str) -> None:
    """A wrong address can lead to the page of a proxy. Its port may be no number."""
    wrong = {path: f"{source}{path}" for path in OTHER_TEXTS} | {"/port": "http://127.0.0.1:port/metrics"}

    lines = exposition({"up": f"{source}/metrics", **wrong}).decode().splitlines()

    assert [line for line in lines if line.startswith("dropzone_source_up")] == [
        'dropzone_source_up{process="up"} 1.0',
        *(f'dropzone_source_up{{process="{name}"}} 0.0' for name in wrong),
    ]
    assert 'example_total{code="OK",process="up"} 3.0' in lines
