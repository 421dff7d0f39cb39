"""Sends suspects and notices one at a time.

A suspect is sent alone: the next suspect follows when this attempt has ended. In two cases, no other event is sent for
up to `EXCLUSIVE_SECONDS`: if the suspect is risky, or if the function has not acknowledged an event after its last
crash. The suspect then cannot crash the function while other events are in flight.

A slow suspect does not delay other suspects for long. After `SLOW_SECONDS`, the next suspect is sent if the function
has acknowledged another event during the attempt. This shows that the function is not blocked.
"""

import asyncio
import contextlib
import time

from infra.embedded.eventarc.delivery.deliveries import Deliveries, Suspect
from infra.embedded.eventarc.delivery.fair_queue import FairQueue
from infra.embedded.eventarc.delivery.recorder import Recorder
from infra.embedded.eventarc.delivery.sender import Sender

MAX_SUSPECTS = 1_000
MAX_SLOW_TRIALS = 4
EXCLUSIVE_SECONDS = 0.5
DRAIN_STEPS = 100
SLOW_SECONDS = 2.0
POLL_SECONDS = 2.0  # another process may resend dead letters


class Trials:
    """Sends the suspects of one trigger."""

    def __init__(self, deliveries: Deliveries, queue: FairQueue, recorder: Recorder, sender: Sender) -> None:
        self._deliveries = deliveries
        self._queue = queue
        self._recorder = recorder
        self._sender = sender
        self._has_news = asyncio.Event()
        recorder.on_saved.append(self._has_news)

    async def run(self) -> None:
        """Send until cancelled."""
        slow: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._sender.reachable.wait()
                suspect = await self._next()
                self._recorder.held_rows.hold([suspect.sequence])
                trial = tasks.create_task(self._send(suspect))
                slow.add(trial)
                trial.add_done_callback(slow.discard)
                await self._wait(trial, slow)

    async def _next(self) -> Suspect:
        while True:
            self._has_news.clear()
            with self._recorder.held_rows.during_read() as held:
                suspects = await self._deliveries.suspects(MAX_SUSPECTS)
            waiting = [suspect for suspect in suspects if suspect.sequence not in held]
            now = time.monotonic()
            suspect, next_due = self._sender.quarantine.next(waiting, now, is_idle=self._queue.is_idle)
            if suspect is not None:
                return suspect
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(next_due - now, POLL_SECONDS)):
                    await self._has_news.wait()

    async def _send(self, suspect: Suspect) -> None:
        delivery = await self._deliveries.load(suspect.sequence)
        quarantine = self._sender.quarantine
        if not quarantine.is_risky(suspect) and not quarantine.is_recovering:
            await self._sender.send_alone(delivery)
            return
        reason = f"trial {suspect.sequence}"  # another trial may end in the meantime
        self._queue.pause(reason)
        resume = asyncio.get_running_loop().call_later(2 * EXCLUSIVE_SECONDS, self._queue.resume, reason)
        try:
            for _ in range(DRAIN_STEPS):
                if not self._queue.in_flight:
                    break
                await asyncio.sleep(EXCLUSIVE_SECONDS / DRAIN_STEPS)
            await self._sender.send_alone(delivery)
        finally:
            resume.cancel()
            self._queue.resume(reason)

    async def _wait(self, trial: "asyncio.Task[None]", slow: "set[asyncio.Task[None]]") -> None:
        """Wait until the next trial may start."""
        started = time.monotonic()
        while not trial.done():
            await asyncio.wait([trial], timeout=SLOW_SECONDS)
            if len(slow) < MAX_SLOW_TRIALS and self._sender.last_acknowledgement > started + SLOW_SECONDS / 2:
                return
