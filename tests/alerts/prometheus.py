"""A Prometheus server that scrapes a stack and evaluates the scaled rules."""

import json
import shutil
import signal
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.alerts.rules import ALERTS, scaled
from tests.ports import free_port
from tests.stack import eventually

INTERVAL = "2500ms"  # the API waits for up to 2 s for the metrics of a process that hangs


class Prometheus(AbstractContextManager["Prometheus"]):
    """A running Prometheus. Raises `LookupError` if it is not installed."""

    def __init__(self, folder: Path, target: str, ca_file: str | None = None) -> None:
        """Scrape the API at `target`, over HTTPS if `ca_file` is the certificate that it has signed itself."""
        command = shutil.which("prometheus")
        if command is None:
            raise LookupError("prometheus is not installed")
        folder.mkdir()
        (folder / "alerts.yaml").write_text(scaled(ALERTS.read_text()))
        # JSON is YAML, too.
        (folder / "prometheus.yaml").write_text(
            json.dumps(
                {
                    "global": {
                        "scrape_interval": INTERVAL,
                        "scrape_timeout": INTERVAL,
                        "evaluation_interval": INTERVAL,
                    },
                    "rule_files": ["alerts.yaml"],
                    "scrape_configs": [
                        {
                            "job_name": "dropzone",
                            "scheme": "https" if ca_file else "http",
                            "tls_config": {"ca_file": ca_file},
                            "static_configs": [{"targets": [target]}],
                        }
                    ],
                }
            )
        )
        port = free_port()
        self._log = folder / "log"
        self._command = [
            command,
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        eventually(self._is_ready, self._log.read_text)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def firing(self) -> dict[str, dict[str, str]]:
        """Return the labels and annotations of each alert that fires, by its name."""
        alerts = self._client.get("/api/v1/alerts").json()["data"]["alerts"]
        return {
            alert["labels"]["alertname"]: alert["labels"] | alert["annotations"]
            for alert in alerts
            if alert["state"] == "firing"
        }

    def value(self, expression: str) -> float | None:
        """Return the value of an expression with one result, or None if it has none."""
        result = self._client.get("/api/v1/query", params={"query": expression}).json()["data"]["result"]
        return float(result[0]["value"][1]) if result else None
