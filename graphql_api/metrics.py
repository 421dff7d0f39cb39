"""What operators see at `/metrics`, in Prometheus's text format: few numbers, with labels of few values.

They are counted where things happen, on the objects below, which live as long as the process. Where
`PROMETHEUS_MULTIPROC_DIR` names a folder, several processes keep their numbers there and each answers for all;
the library looks for it when it is imported. A trap of that: what a killed process had open stays counted
until `forget_the_dead`. No label holds what a client chooses.
"""

import asyncio
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SAMPLING_SECONDS = 0.25
_DOORS = ("/graphql", "/samples")

REQUESTS = Counter(
    "dropzone_http_requests", "Requests that were answered, by door and HTTP status.", ["door", "status"]
)
ERRORS = Counter("dropzone_errors", "Errors that clients were told, by code, whichever door they used.", ["code"])
SUBMIT_DURATION = Histogram(
    "dropzone_submit_duration_seconds",
    "How long samples took from their last byte to the receipt; its count is that of submissions, by state.",
    ["state"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
SUBMITTED_BYTES = Counter("dropzone_submitted_bytes", "Bytes of samples that were stored, decompressed.")
PENDING_WRITES = Gauge(
    "dropzone_pending_writes", "Writes that Firestore has not confirmed yet.", multiprocess_mode="livesum"
)
PENDING_WRITE_BYTES = Gauge("dropzone_pending_write_bytes", "The bytes of these writes.", multiprocess_mode="livesum")
WEBSOCKETS = Gauge("dropzone_websocket_connections", "Open WebSockets.", multiprocess_mode="livesum")
SUBSCRIPTIONS = Gauge(
    "dropzone_subscriptions",
    "Open subscriptions to samples and results, over any protocol.",
    multiprocess_mode="livesum",
)
DELIVERED = Counter("dropzone_delivered_results", "Results that were handed to subscribers.")
EVENT_LOOP_LAG = Histogram(
    "dropzone_event_loop_lag_seconds",
    "How much later than planned a timer of the event loop ran: what everybody waits besides his own work.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)

# To look a label up costs more than to count.
requests = cache(REQUESTS.labels)
errors = cache(ERRORS.labels)
submit_duration = cache(SUBMIT_DURATION.labels)

# What alerts are made of starts at 0: Prometheus sees no rise in a number whose first value is 1.
for _state in ("PENDING", "REJECTED"):
    submit_duration(_state)
for _code in ("INTERNAL", "UNAVAILABLE"):
    errors(_code)


class Counted:
    """Counts what an application answers, and its WebSockets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        door = _door(scope["path"])
        accepted = False

        async def counting(message: Message) -> None:
            nonlocal accepted
            kind = message["type"]
            if kind == "http.response.start" or kind == "websocket.http.response.start":
                requests(door, message["status"]).inc()
            elif kind == "websocket.accept":
                accepted = True
                requests(door, 101).inc()
                WEBSOCKETS.inc()
            await send(message)

        try:
            await self._app(scope, receive, counting)
        except Exception:
            requests(door, 500).inc()  # answered further out
            raise
        finally:
            if accepted:
                WEBSOCKETS.dec()


def _door(path: str) -> str:
    for door in _DOORS:
        if path.startswith(door):
            return door
    return "other"


def respond(request: Request) -> Response:
    """Answer with all numbers. Reads files where processes share them, so it is not for the event loop."""
    del request
    registry = REGISTRY
    if _SHARED_FOLDER in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def sample_for_ever(waiting: Callable[[], tuple[int, int]]) -> None:
    """Look four times a second at how late the event loop is, and at the number and bytes of `waiting` writes."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _SAMPLING_SECONDS
        await asyncio.sleep(_SAMPLING_SECONDS)
        EVENT_LOOP_LAG.observe(max(0.0, loop.time() - due))
        writes, size = waiting()
        PENDING_WRITES.set(writes)
        PENDING_WRITE_BYTES.set(size)


def forget_the_dead() -> None:
    """Stop counting what processes had open that are no more: those that were killed have not told."""
    folder = os.environ.get(_SHARED_FOLDER)
    if folder is None:
        return
    for file in Path(folder).glob("gauge_live*_*.db"):
        process = int(file.stem.rpartition("_")[2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            mark_process_dead(process)  # type: ignore[no-untyped-call]
