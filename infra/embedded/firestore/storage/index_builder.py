"""The index builder: runs the index builds of a file in the background, in short steps on the writer.

A step is one job of a group commit. Other writes run between two steps. If other writes arrive, the builder pauses for
the time of a step. If a step fails, for example because the disk is full, the builder tries again later.
"""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from infra.embedded.firestore.indexes import index_builds
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.index_registry import IndexRegistry

STEP_SECONDS = 0.1
BUSY_STEP_SECONDS = 0.015
"""The time for one step while other requests write. The transaction takes about three times as long."""

RETRY_SECONDS = 5.0
LOG_SECONDS = 5.0

Run = Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]
"""Runs SQL in a transaction, on the writer or on a reader."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class BuildProgress:
    """The number of documents whose index entries are complete, and the number of all documents."""

    done: int = 0
    total: int = 0
    deleted_entries: int = 0

    def __str__(self) -> str:
        percent = min(99, 100 * self.done // self.total) if self.total else 0
        if not self.done and self.deleted_entries:
            return f"deleted {self.deleted_entries:,} entries of removed indexes"
        return f"{self.done:,} of {self.total:,} documents ({percent} %)"


class IndexBuilder:
    """Runs all builds of a registry. `group_commits` returns the number of group commits since the start."""

    def __init__(
        self, catalog: Catalog, registry: IndexRegistry, write: Run, read: Run, group_commits: Callable[[], int]
    ) -> None:
        self._catalog = catalog
        self._registry = registry
        self._write = write
        self._read = read
        self._group_commits = group_commits
        self._task: asyncio.Task[None] | None = None
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self.progress: dict[str, BuildProgress] = {}
        """The running builds, by collection group."""

    def start(self) -> None:
        """Run the builds that are planned, in the background."""
        if self._registry.earlier and (self._task is None or self._task.done()):
            for collection_id in self._registry.earlier:
                self.progress.setdefault(collection_id, BuildProgress())
            self._task = asyncio.create_task(self._run())

    async def wait(self, collection_id: str) -> None:
        """Wait until no build of a collection group is running. Raise the error of a failed step."""
        self.start()
        if collection_id in self._registry.earlier:
            finished = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(collection_id, []).append(finished)
            await finished

    async def wait_for_all(self, seconds: float) -> None:
        """Wait until all builds have finished, but at most `seconds`."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)

    async def close(self) -> None:
        """Stop after the current step. The builds continue at the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while self._registry.earlier:
            for collection_id in list(self._registry.earlier):
                try:
                    is_complete = await self._build(collection_id)
                except Exception as error:  # noqa: BLE001 - the next attempt may succeed
                    self._release(collection_id, error)
                    logger.error(  # noqa: TRY400 - a fault of the disk in almost all cases
                        "Building the indexes of collection group %s failed; retrying in %g seconds: %r",
                        collection_id,
                        RETRY_SECONDS,
                        error,
                    )
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    if is_complete:
                        self._release(collection_id, None)
        self.progress.clear()

    def _release(self, collection_id: str, error: Exception | None) -> None:
        for future in self._waiting.pop(collection_id, ()):
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)

    async def _build(self, collection_id: str) -> bool:
        """Run a build. Return False if it was started again, because another index was added."""
        progress = self.progress.setdefault(collection_id, BuildProgress())
        started, logged_at = time.monotonic(), -LOG_SECONDS
        target = await self._write(lambda connection: index_builds.build_target(connection, collection_id))
        progress.done, progress.total = await self._read(
            lambda connection: index_builds.count_documents(connection, self._catalog, collection_id)
        )
        seconds = STEP_SECONDS
        while True:
            if time.monotonic() - logged_at >= LOG_SECONDS:
                logged_at = time.monotonic()
                logger.info("Building the indexes of collection group %s: %s", collection_id, progress)
            commits, step_started = self._group_commits(), time.monotonic()
            step = partial(self._advance, collection_id=collection_id, seconds=seconds)
            result = await self._write(step)
            if result is None:
                break
            progress.done += result.documents
            progress.deleted_entries += result.deleted_entries
            if self._group_commits() - commits > 1:
                seconds = BUSY_STEP_SECONDS
                await asyncio.sleep(time.monotonic() - step_started)
            else:
                seconds = min(STEP_SECONDS, 2 * seconds)
        finish = partial(index_builds.finish, registry=self._registry, collection_id=collection_id, target=target)
        is_complete: bool = await self._write(finish)
        if is_complete:
            self.progress.pop(collection_id, None)
            logger.info("Built the indexes of collection group %s in %.1f s", collection_id, time.monotonic() - started)
        return is_complete

    def _advance(self, connection: sqlite3.Connection, collection_id: str, seconds: float) -> index_builds.Step | None:
        return index_builds.advance(connection, self._catalog, self._registry, collection_id, seconds)
