"""HTTP endpoints for operators and tests: health, metrics, and deleting a database.

The route that deletes a database is the same as in Google's emulator, so tools for the emulator work with this server.
"""

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from aiohttp import web

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.firestore_server import FirestoreServer, PortInUse
from infra.embedded.firestore.data_file import file_check
from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.queries import scanner, structured_query
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.writer import Group
from infra.embedded.firestore.writes import commits, document_write

DOCUMENTS_ROUTE = "/emulator/v1/projects/{project}/databases/{database}/documents"
DELETE_BATCH_SIZE = 500
HEALTH_TIMEOUT_SECONDS = 5


class AdminEndpoints:
    """The HTTP server for operators. It serves `routes` and `metrics` in addition to its own."""

    def __init__(
        self,
        storage: Storage,
        server: FirestoreServer,
        routes: Iterable[web.RouteDef],
        metrics: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self._other_metrics = metrics
        self._storage = storage
        self._server = server
        application = web.Application()
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/readyz", self._readiness)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_delete(DOCUMENTS_ROUTE, self._delete_documents)
        application.router.add_routes(routes)
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self, host: str, port: int) -> None:
        """Accept requests from now on. Raise PortInUse if the port cannot be bound."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as problem:
            await self._runner.cleanup()
            raise PortInUse(f"cannot listen on {host}:{port}: {problem.strerror}") from problem

    async def stop(self) -> None:
        """Stop accepting requests and close all connections."""
        await self._runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_SECONDS):
                await self._storage.execute(lambda connection: connection.execute("SELECT 1").fetchone())
        except Exception as problem:  # noqa: BLE001 - any failure means that the server is not healthy
            return web.Response(status=503, text=f"{problem!r}\n")
        return web.Response(text="ok\n")

    async def _readiness(self, request: web.Request) -> web.Response:
        """Respond as `_health`, and with 503 while the disk refuses writes. Reads work in that case."""
        if (problem := self._storage.health.problem) is not None:
            return web.Response(status=503, text=f"writes fail: {problem}\n")
        return await self._health(request)

    async def _metrics(self, request: web.Request) -> web.Response:
        lines = []
        for name, kind, value in self._figures():
            lines += [f"# TYPE firestore_{name} {kind}", f"firestore_{name} {value}"]
        lines.append("# TYPE firestore_calls_total counter")
        for (method, code), count in sorted(self._server.call_counts.items()):
            lines.append(f'firestore_calls_total{{method="{method}",code="{code}"}} {count}')
        lines += await self._other_metrics()
        return web.Response(text="\n".join(lines) + "\n")

    def _figures(self) -> list[tuple[str, str, float]]:
        log = file_check.log_of(self._storage.path)
        rss_unit = 1 if sys.platform == "darwin" else 1024
        builds = list(self._storage.index_builds.values())
        return [
            ("index_builds", "gauge", len(builds)),
            ("index_build_documents", "gauge", sum(build.total for build in builds)),
            ("index_build_documents_done", "gauge", sum(build.done for build in builds)),
            ("changes_total", "counter", self._storage.snapshot().sequence),
            ("group_commits_total", "counter", self._storage.group_commits),
            ("failed_writes_total", "counter", self._storage.health.failed_writes),
            ("writable", "gauge", int(self._storage.health.problem is None)),
            ("clock_ahead_seconds", "gauge", round(self._storage.clock.seconds_ahead, 6)),
            ("streams", "gauge", self._server.open_streams),
            ("transactions", "gauge", self._server.open_transactions),
            ("file_bytes", "gauge", self._storage.path.stat().st_size),
            ("log_bytes", "gauge", file_check.size_of(log)),
            ("max_resident_bytes", "gauge", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * rss_unit),
        ]

    async def _delete_documents(self, request: web.Request) -> web.Response:
        database = f"projects/{request.match_info['project']}/databases/{request.match_info['database']}"
        count = await delete_all_documents(self._storage, database)
        return web.json_response({"deleted": count})


async def delete_all_documents(storage: Storage, database: str) -> int:
    """Delete all documents of a database and return their number. Each deletion causes an event, as a client's does."""
    everything = m.StructuredQuery(from_=[m.StructuredQuery.CollectionSelector(all_descendants=True)])
    query = structured_query.read(f"{resource_names.parse_database(database)}/documents", everything)
    count = 0
    deletions: list[document_write.PreparedWrite] = []
    async for _, document in scanner.stream(storage, query, storage.snapshot().read_time):
        deletions.append(document_write.prepare(m.Write(delete=document.name), database))
        count += 1
        if len(deletions) == DELETE_BATCH_SIZE:
            await storage.write(partial(_commit_each, deletions))
            deletions = []
    await storage.write(partial(_commit_each, deletions))
    return count


def _commit_each(deletions: list[document_write.PreparedWrite], group: Group) -> Any:
    return commits.batch_write(group, deletions, commits.no_conflicts)
