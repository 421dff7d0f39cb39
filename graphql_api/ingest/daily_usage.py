"""Daily usage: stores what counts towards daily quotas, so that it holds over all processes and restarts.

Each process adds what it has admitted to `submitters/{submitter}/daily_usage/{day}` every five seconds. The response
contains the total of all processes. Until then, a process does not know what the others have admitted, so a quota can
be exceeded by what arrives in five seconds.

A write that Firestore has not confirmed is sent again. If Firestore had applied it, the samples count twice.
"""

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime, timedelta

from graphql_api.budgets.budgets import Budgets
from graphql_api.budgets.daily_quota import DailyQuota, Usage
from storage.documents import DropzoneError, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.group_commit_writer import GroupCommitWriter
from storage.firestore.throttled_log import ThrottledLog

_CHECK_SECONDS = 0.25
_STORE_SECONDS = 5.0
_CLOSE_SECONDS = 1.0
_RETENTION = timedelta(days=400)

_failed_writes = ThrottledLog(logging.getLogger("graphql_api"))


class DailyUsage:
    """Stores the usage of all quotas that have changed."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter, budgets: Budgets) -> None:
        self._firestore = firestore
        self._writer = writer
        self._changed = budgets.changed_quotas
        self._stores = asyncio.create_task(self._store_all())

    async def close(self) -> None:
        """Store what is not stored yet, if Firestore responds soon."""
        self._stores.cancel()
        await asyncio.gather(self._stores, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.gather(*map(self._store, list(self._changed)))

    async def _store_all(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            now = time.monotonic()
            due = [quota for quota in self._changed if quota.store_at <= now]
            await asyncio.gather(*map(self._store, due))

    async def _store(self, quota: DailyQuota) -> None:
        quota.store_at = time.monotonic() + _STORE_SECONDS
        self._changed.discard(quota)
        day, admitted = quota.admitted
        name = self._firestore.name(document_paths.daily_usage(quota.submitter, day, quota.key_name))
        fields = {"expires": datetime(day.year, day.month, day.day, tzinfo=UTC) + _RETENTION}
        write = encoding.to_write(name, fields)
        write.update_mask.field_paths.append("expires")
        for field, amount in (("count", admitted.samples), ("bytes", admitted.byte_count)):
            write.update_transforms.add(field_path=field, increment=encoding.to_value(amount))
        try:
            written = await self._writer.write(write)
        except (DropzoneError, FirestoreError) as error:
            self._changed.add(quota)
            _failed_writes.warning("could not store what counts towards daily quotas: %s", error)
            return
        samples, byte_count = (result.integer_value for result in written.transform_results)
        quota.set_stored(day, admitted, Usage(samples, byte_count))
