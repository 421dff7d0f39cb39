"""Puts failed events into the fair queue when they are due."""

import asyncio
import contextlib
import math
import time

from infra.embedded.eventarc.delivery.delivery_store import DeliveryStore
from infra.embedded.eventarc.delivery.fair_queue import FairQueue
from infra.embedded.eventarc.delivery.recorder import Recorder

MAX_WAIT_SECONDS = 2.0  # check this often, because another process may resend dead letters
MIN_WAIT_SECONDS = 0.01


class Retries:
    """Retries the failed events of one trigger."""

    def __init__(self, store: DeliveryStore, queue: FairQueue, recorder: Recorder) -> None:
        self._store = store
        self._queue = queue
        self._recorder = recorder
        self._last_group = -1
        self._rows_saved = asyncio.Event()
        recorder.on_saved.append(self._rows_saved)

    async def run(self) -> None:
        """Retry until cancelled."""
        while True:
            self._rows_saved.clear()
            next_due = await self._add_due()
            seconds = min(max(next_due - time.monotonic(), MIN_WAIT_SECONDS), MAX_WAIT_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._rows_saved.wait()

    async def _add_due(self) -> float:
        """Add the failed events that are due to the queue. Return when the next one is due."""
        room = self._queue.free_retries()
        if room <= 0:
            return math.inf
        waiting = {group.number: len(group.retrying) for group in self._queue.groups.values() if group.retrying}
        with self._recorder.held_rows.during_read() as held:
            deliveries, next_due = await self._store.due(
                time.monotonic(), room, self._queue.max_retries(), waiting, held, self._last_group
            )
        for delivery in deliveries:
            if delivery.sequence in held:
                continue
            self._last_group = delivery.group
            self._recorder.held_rows.hold([delivery.sequence])
            self._queue.add_retry(delivery)
        return next_due
