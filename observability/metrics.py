"""The Prometheus metrics of a process, alone or with the metrics of other processes.

If `PROMETHEUS_MULTIPROC_DIR` names a folder, all instances of a process write their metrics to it. Each instance then
returns the metrics of all instances. `prometheus_client` reads this variable when it is imported.

A source is another process with metrics, such as `http://127.0.0.1:8081/metrics` or `unix:/run/firestore:/metrics`. Its
metrics get the label `process`. A source that does not respond with metrics does not affect other sources. Its
`dropzone_source_up` is 0.
"""

import contextlib
import http.client
import os
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    REGISTRY,
    CollectorRegistry,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
PROCESS_LABEL = "process"
SOURCE_TIMEOUT_SECONDS = 2.0

_SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives this function no type hints
for _collector in (GC_COLLECTOR, PLATFORM_COLLECTOR):
    REGISTRY.unregister(_collector)


def exposition(sources: Mapping[str, str] = {}, more: Iterable[Metric] = ()) -> bytes:
    """Return the metrics of this process and of its sources in the text format of Prometheus. Blocks."""
    families = {family.name: family for family in (*_own(), *more)}
    if sources:
        up = GaugeMetricFamily(
            "dropzone_source_up",
            "Whether the metrics of a process could be read (1) or not (0).",
            labels=[PROCESS_LABEL],
        )
        families[up.name] = up
        with ThreadPoolExecutor(len(sources)) as threads:
            read = dict(zip(sources, threads.map(_read, sources.values()), strict=True))
        for name, metrics in read.items():
            up.add_metric([name], 0 if metrics is None else 1)
            for family in metrics or ():
                known = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    known.samples.append(sample._replace(labels={**sample.labels, PROCESS_LABEL: name}))
    return generate_latest(_Families(families.values()))


def remove_dead_processes() -> None:
    """Remove the gauges of processes that no longer run. A killed process cannot reset its gauges itself."""
    folder = os.environ.get(_SHARED_FOLDER)
    if folder is None:
        return
    for file in Path(folder).glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not psutil.pid_exists(pid):
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _own() -> Iterable[Metric]:
    if _SHARED_FOLDER not in os.environ:
        return REGISTRY.collect()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return [*registry.collect(), *PROCESS_COLLECTOR.collect()]


def _read(address: str) -> list[Metric] | None:
    """Return the metrics at an address, or None if it does not respond in time or returns something else."""
    try:
        connection, route = _target(address)
        with contextlib.closing(connection):
            connection.request("GET", route)
            response = connection.getresponse()
            if response.status != 200:
                return None
            return list(text_string_to_metric_families(response.read().decode()))
    except (OSError, http.client.HTTPException, ValueError, IndexError):  # the parser raises the last two
        return None


def _target(address: str) -> tuple[http.client.HTTPConnection, str]:
    if address.startswith("unix:"):
        path, _, route = address.removeprefix("unix:").partition(":")
        return _UnixConnection(path), route
    url = urlsplit(address)
    return http.client.HTTPConnection(url.netloc, timeout=SOURCE_TIMEOUT_SECONDS), url.path


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SOURCE_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SOURCE_TIMEOUT_SECONDS)
        self.sock.connect(self._path)


class _Families(Collector):
    """Metric families in the form that `generate_latest` takes."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families
