"""HTTP endpoints for operators and tests: health, metrics, and deleting a database.

The route that deletes a database is the same as in Google's emulator, so tools for the emulator work with this server.

If the server has a token, requests must contain it, as gRPC calls do. This also applies to requests over a Unix socket.
Health and metrics need no token: probes and Prometheus read them, and they contain no documents.

A server without a token trusts its machine, so a web page in the browser of an operator must not reach the endpoints.
The server refuses requests from pages. On a loopback address, it also refuses requests that name another host (DNS
rebinding). It serves the request of a user who enters the address of an endpoint in a browser.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.firestore_server import FirestoreServer, PortInUse
from infra.embedded.firestore.data_file import file_check
from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.queries import result_pages, structured_query
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.transport.rpc import NO_TOKEN, BearerToken
from infra.embedded.firestore.writes import commits, document_write
from observability.metrics import CONTENT_TYPE, exposition

DOCUMENTS_ROUTE = "/emulator/v1/projects/{project}/databases/{database}/documents"
DELETE_BATCH_SIZE = 500
HEALTH_TIMEOUT_SECONDS = 5
PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminEndpoints:
    """The HTTP server for operators. It serves `routes` and `metrics` in addition to its own."""

    def __init__(
        self,
        storage: Storage,
        server: FirestoreServer,
        routes: Iterable[web.RouteDef],
        metrics: Callable[[], Awaitable[list[Metric]]],
        token: BearerToken | None = None,
    ) -> None:
        self._other_metrics = metrics
        self._storage = storage
        self._server = server
        self._token = token
        application = web.Application(middlewares=[_refuse_pages, self._require_token])
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/readyz", self._readiness)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_delete(DOCUMENTS_ROUTE, self._delete_documents)
        application.router.add_routes(routes)
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self, host: str, port: int | None, path: Path | None = None) -> None:
        """Start to accept requests on a port and on a Unix socket. Raise PortInUse if the port cannot be bound."""
        await self._runner.setup()
        if path is not None:
            path.unlink(missing_ok=True)
            await web.UnixSite(self._runner, path).start()
        if port is None:
            return
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as problem:
            await self._runner.cleanup()
            raise PortInUse(f"cannot listen on {host}:{port}: {problem.strerror}") from problem

    async def stop(self) -> None:
        """Stop accepting requests and close all connections."""
        await self._runner.cleanup()

    @web.middleware
    async def _require_token(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Respond with 401 to a request without the token, if it needs one."""
        if self._token is not None and request.path not in PUBLIC_PATHS:
            sent = [value.encode(errors="surrogateescape") for value in request.headers.getall("authorization", ())]
            if not self._token.is_in(("authorization", value) for value in sent):
                return web.Response(status=401, text=f"{NO_TOKEN[1]}\n", headers={"www-authenticate": "Bearer"})
        return await handler(request)

    async def _health(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_SECONDS):
                await self._storage.execute(lambda connection: connection.execute("SELECT 1").fetchone())
        except Exception as problem:  # noqa: BLE001 - any failure means that the server is not healthy
            return web.Response(status=503, text=f"{problem!r}\n")
        return web.Response(text="ok\n")

    async def _readiness(self, request: web.Request) -> web.Response:
        """Respond as `_health` does, but with 503 while the disk refuses writes. Reads still work then."""
        if (problem := self._storage.health.problem) is not None:
            return web.Response(status=503, text=f"writes fail: {problem}\n")
        return await self._health(request)

    async def _metrics(self, request: web.Request) -> web.Response:
        families = [*self._figures(), *await self._other_metrics()]
        text = await asyncio.to_thread(exposition, more=families)
        return web.Response(body=text, headers={"content-type": CONTENT_TYPE})

    def _figures(self) -> Iterator[Metric]:
        storage, server, health = self._storage, self._server, self._storage.health
        builds = list(storage.index_builds.values())
        disk = shutil.disk_usage(storage.path.parent)
        gauges = {
            "index_builds": ("Index builds that are running.", len(builds)),
            "index_build_documents": ("Documents that running builds index.", sum(build.total for build in builds)),
            "index_build_documents_done": (
                "Documents that running builds have indexed.",
                sum(build.done for build in builds),
            ),
            "writable": ("Whether the disk accepts writes (1) or not (0).", int(health.problem is None)),
            "clock_ahead_seconds": (
                "How far commit times are ahead of the clock of the machine, in seconds.",
                round(storage.clock.seconds_ahead, 6),
            ),
            "streams": ("Open Listen streams.", server.open_streams),
            "transactions": ("Active transactions.", server.open_transactions),
            "file_bytes": ("Size of the data file.", storage.path.stat().st_size),
            "file_unused_bytes": (
                "Unused bytes in the data file at the last checkpoint. New data fills them before the file grows.",
                storage.unused_bytes(),
            ),
            "log_bytes": (
                "Size of the write-ahead log next to the data file.",
                file_check.size_of(file_check.log_of(storage.path)),
            ),
            "disk_free_bytes": ("Free space on the disk of the data file.", disk.free),
            "disk_size_bytes": ("Size of the disk of the data file.", disk.total),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"firestore_{name}", text, value)
        changes = storage.snapshot().sequence
        yield CounterMetricFamily("firestore_changes", "Document changes in the data file.", changes)
        yield CounterMetricFamily("firestore_failed_writes", "Writes that the disk refused.", health.failed_writes)
        calls = CounterMetricFamily("firestore_calls", "gRPC calls, by method and status.", labels=["method", "code"])
        for labels, count in sorted(server.call_counts.items()):
            calls.add_metric(labels, count)
        yield calls

    async def _delete_documents(self, request: web.Request) -> web.Response:
        database = f"projects/{request.match_info['project']}/databases/{request.match_info['database']}"
        count = await delete_all_documents(self._storage, database)
        return web.json_response({"deleted": count})


@web.middleware
async def _refuse_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Respond with 403 to a request that a web page has caused."""
    is_of_page = "origin" in request.headers or request.headers.get("sec-fetch-site", "none") != "none"
    socket = None if request.transport is None else request.transport.get_extra_info("sockname")
    if is_of_page or (isinstance(socket, tuple) and _is_loopback(socket[0]) and not _names_loopback(request)):
        return web.Response(status=403, text="requests of web pages are refused\n")
    return await handler(request)


def _names_loopback(request: web.Request) -> bool:
    """Return whether the header `Host` names this machine. Clients without a browser may leave the header out."""
    host = request.headers.get("host")
    try:
        return host is None or _is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def delete_all_documents(storage: Storage, database: str) -> int:
    """Delete all documents of a database and return their number. As for clients, each deletion causes an event."""
    everything = m.StructuredQuery(from_=[m.StructuredQuery.CollectionSelector(all_descendants=True)])
    query = structured_query.read(f"{resource_names.parse_database(database)}/documents", everything)
    count = 0
    deletions: list[document_write.PreparedWrite] = []
    async for _, document in result_pages.stream(storage, query, storage.snapshot().read_time):
        deletions.append(document_write.prepare(m.Write(delete=document.name), database))
        if len(deletions) == DELETE_BATCH_SIZE:
            count += await storage.write(partial(commits.delete, deletions=deletions))
            deletions = []
    return count + await storage.write(partial(commits.delete, deletions=deletions))
