"""`GET /metrics`: all metrics in the text format of Prometheus.

If `PROMETHEUS_MULTIPROC_DIR` names a folder, all API processes of a machine write their metrics to it. Each process
then responds with the metrics of all processes. `prometheus_client` reads this variable when it is imported.

A single process responds with the same metrics. It therefore leaves out those that `prometheus_client` adds only if it
does not use a folder.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    REGISTRY,
    CollectorRegistry,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graphql_api import metrics
from graphql_api.endpoints.endpoint import Endpoint, public

_SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SAMPLING_SECONDS = 0.25

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives this function no type hints
for _collector in (GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR):
    REGISTRY.unregister(_collector)


def metrics_endpoint() -> Endpoint:
    """Return `GET /metrics`."""
    return public(Route("/metrics", _respond))


def _respond(request: Request) -> Response:
    """Return all metrics. Starlette runs this function in a thread, because it is not a coroutine function."""
    del request
    registry = REGISTRY
    if _SHARED_FOLDER in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def sample_process(pending_writes: Callable[[], tuple[int, int]]) -> None:
    """Set the sampled metrics of this process four times a second, until the task is cancelled.

    `pending_writes` returns the number and the bytes of the writes that Firestore has not confirmed.
    """
    loop = asyncio.get_running_loop()
    while True:
        scheduled_at = loop.time() + _SAMPLING_SECONDS
        await asyncio.sleep(_SAMPLING_SECONDS)
        metrics.EVENT_LOOP_LAG.observe(max(0.0, loop.time() - scheduled_at))
        writes, size = pending_writes()
        metrics.PENDING_WRITES.set(writes)
        metrics.PENDING_WRITE_BYTES.set(size)


def remove_dead_processes() -> None:
    """Remove the gauges of processes that no longer run. A killed process cannot reset its gauges itself."""
    folder = os.environ.get(_SHARED_FOLDER)
    if folder is None:
        return
    for file in Path(folder).glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
