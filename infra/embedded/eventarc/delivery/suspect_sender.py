"""Sends suspects and notices one at a time.

A suspect is sent alone: the next suspect follows when this attempt has ended. Most trials are short. In two cases, no
new event is therefore sent during the first `EXCLUSIVE_SECONDS` of the attempt: if the suspect is risky, or if the
function has not acknowledged an event after its last crash. The attempt starts when no event is in flight any more, or
after `DRAIN_SECONDS`. If the function crashes while another event is in flight, the suspect is unclear. Its next trial
is exclusive until the attempt has ended.

A slow suspect does not delay other suspects for long. After `SLOW_SECONDS`, the next suspect is sent if the function
still acknowledges other events. This shows that the function is not blocked. Trials of risky and of unclear suspects do
not overlap with other trials.
"""

import asyncio
import contextlib
import math
import time

from infra.embedded.eventarc.delivery.delivery import Delivery
from infra.embedded.eventarc.delivery.delivery_store import DeliveryStore, Suspect
from infra.embedded.eventarc.delivery.fair_queue import FairQueue
from infra.embedded.eventarc.delivery.recorder import Recorder
from infra.embedded.eventarc.delivery.sender import Sender

MAX_SUSPECTS = 1_000
MAX_SLOW_TRIALS = 4
EXCLUSIVE_SECONDS = 1.0
DRAIN_SECONDS = 2.0
SLOW_SECONDS = 10.0  # most events take less time, so trials seldom overlap
POLL_SECONDS = 2.0  # another process may resend dead letters


class SuspectSender:
    """Sends the suspects of one trigger."""

    def __init__(self, store: DeliveryStore, queue: FairQueue, recorder: Recorder, sender: Sender) -> None:
        self._store = store
        self._queue = queue
        self._recorder = recorder
        self._sender = sender
        self._running: set[asyncio.Task[None]] = set()
        self._rows_saved = asyncio.Event()
        recorder.on_saved.append(self._rows_saved)

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._sender.reachable.wait()
                suspect = await self._next()
                self._recorder.held_rows.hold([suspect.sequence])
                delivery = await self._store.load(suspect.sequence)
                delivery.started = math.inf  # until the event is sent
                trial = tasks.create_task(self._send(suspect, delivery))
                self._running.add(trial)
                trial.add_done_callback(self._running.discard)
                await self._wait(trial, delivery, may_overlap=self._sender.quarantine.may_overlap(suspect))

    async def _next(self) -> Suspect:
        while True:
            self._rows_saved.clear()
            with self._recorder.held_rows.during_read() as held:
                suspects = await self._store.suspects(MAX_SUSPECTS)
            quarantine = self._sender.quarantine
            waiting = [
                suspect
                for suspect in suspects
                if suspect.sequence not in held and (not self._running or quarantine.may_overlap(suspect))
            ]
            now = time.monotonic()
            suspect, next_due = quarantine.next(waiting, now, is_idle=self._queue.is_idle)
            if suspect is not None:
                return suspect
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(next_due - now, POLL_SECONDS)):
                    await self._rows_saved.wait()

    async def _send(self, suspect: Suspect, delivery: Delivery) -> None:
        quarantine = self._sender.quarantine
        is_exclusive = quarantine.needs_exclusive_trial(suspect)
        holds_others = is_exclusive or quarantine.is_risky(suspect) or quarantine.is_recovering
        reason = f"trial {suspect.sequence}"  # another trial may end in the meantime
        is_sent = False
        try:
            while not is_sent:
                if holds_others:
                    self._queue.pause(reason)
                await self._sender.reachable.wait()
                if holds_others:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(None if is_exclusive else DRAIN_SECONDS):
                            await self._queue.drained.wait()
                is_sent = await self._send_once(delivery, reason, is_exclusive=is_exclusive)
        finally:
            self._queue.resume(reason)

    async def _send_once(self, delivery: Delivery, reason: str, *, is_exclusive: bool) -> bool:
        """Send the event. Unless the trial is exclusive, end the pause for `reason` after `EXCLUSIVE_SECONDS`."""
        if is_exclusive:
            return await self._sender.send_alone(delivery)
        resume = asyncio.get_running_loop().call_later(EXCLUSIVE_SECONDS, self._queue.resume, reason)
        try:
            return await self._sender.send_alone(delivery)
        finally:
            resume.cancel()

    async def _wait(self, trial: "asyncio.Task[None]", delivery: Delivery, *, may_overlap: bool) -> None:
        """Wait until the next trial may start."""
        while not trial.done():
            await asyncio.wait([trial], timeout=POLL_SECONDS)
            is_slow = self._sender.last_acknowledgement > delivery.started + SLOW_SECONDS
            if may_overlap and is_slow and len(self._running) < MAX_SLOW_TRIALS:
                return
