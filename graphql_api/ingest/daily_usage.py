"""Daily usage: stores the usage of daily quotas, so that a quota applies to all processes together and after restarts.

Every five seconds, each process adds the usage that it has admitted to `submitters/{submitter}/daily_usage/{day}`. The
response contains the total of all processes. Between two such writes, a process does not know the new usage of the
other processes. A submitter can therefore exceed a quota by the samples of five seconds.

A write that Firestore has not confirmed is sent again. If Firestore has already applied the first write, the samples
count twice.
"""

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime, timedelta

from graphql_api.budgets.budgets import Budgets
from graphql_api.budgets.daily_quota import DailyQuota, Usage
from observability.throttled_log import ThrottledLog
from storage.documents import DropzoneError, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

_CHECK_SECONDS = 0.25
_STORE_SECONDS = 5.0
_CLOSE_SECONDS = 1.0
_RETENTION = timedelta(days=400)

_failed_writes = ThrottledLog(logging.getLogger("graphql_api"))


class DailyUsage:
    """Stores the usage of all quotas that have changed. A task runs only while a change is not stored."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter, budgets: Budgets) -> None:
        self._firestore = firestore
        self._writer = writer
        self._changed = budgets.changed_quotas
        self._changed.on_add = self._start
        self._stores: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Store the remaining changes, if Firestore responds soon."""
        self._changed.on_add = None
        if self._stores is not None:
            self._stores.cancel()
            await asyncio.gather(self._stores, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.gather(*map(self._store, list(self._changed)))

    def _start(self) -> None:
        if self._stores is None or self._stores.done():
            self._stores = asyncio.create_task(self._store_all())

    async def _store_all(self) -> None:
        while self._changed:
            await asyncio.sleep(_CHECK_SECONDS)
            now = time.monotonic()
            due = [quota for quota in self._changed if quota.store_at <= now]
            await asyncio.gather(*map(self._store, due))

    async def _store(self, quota: DailyQuota) -> None:
        """Store the usage of a quota. If this fails, log the failure. A later call stores the usage."""
        quota.store_at = time.monotonic() + _STORE_SECONDS
        self._changed.discard(quota)
        try:
            await self._write(quota)
        except (DropzoneError, FirestoreError) as error:
            self._changed.add(quota)
            _failed_writes.warning("could not store the usage of daily quotas: %s", error)
        except Exception as error:  # noqa: BLE001 - one quota must not end the task that stores all
            self._changed.add(quota)
            _failed_writes.warning("unexpected error while storing the usage of daily quotas", cause=error)

    async def _write(self, quota: DailyQuota) -> None:
        day, admitted = quota.admitted
        name = self._firestore.name(document_paths.daily_usage(quota.submitter, day, quota.key_name))
        fields = {"expires": datetime(day.year, day.month, day.day, tzinfo=UTC) + _RETENTION}
        write = encoding.to_partial_write(name, fields)
        for field, amount in (("count", admitted.samples), ("bytes", admitted.byte_count)):
            write.update_transforms.add(field_path=field, increment=encoding.to_value(amount))
        written = await self._writer.write(write, quota.submitter)
        samples, byte_count = (result.integer_value for result in written.transform_results)
        quota.set_stored(day, admitted, Usage(samples, byte_count))
