"""`GET /metrics`: the metrics of the API and of other configured processes, in the text format of Prometheus."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graphql_api import metrics
from graphql_api.configuration.network_settings import parse_metrics_sources
from graphql_api.endpoints.endpoint import Endpoint, Services, public
from observability.metrics import CONTENT_TYPE, exposition
from runtime.shared_tasks import SharedTasks

_SAMPLING_SECONDS = 0.25


def metrics_endpoint(sources: str, services: Services) -> Endpoint:
    """Return `GET /metrics`. `sources` are the addresses of the metrics of other processes."""
    addresses = parse_metrics_sources(sources)
    readings = SharedTasks[None, bytes]()

    async def respond(request: Request) -> Response:
        """Return all metrics. Requests that arrive while metrics are read get the same text: no key is required."""
        del request
        text = await readings.run(None, lambda: asyncio.to_thread(exposition, addresses))
        await services.budgets.request_turns.wait(lambda: "")  # all requests with the same text continue together
        return Response(text, media_type=CONTENT_TYPE)

    return public(Route("/metrics", respond))


async def update_process_metrics(pending_writes: Callable[[], tuple[int, int]]) -> None:
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
