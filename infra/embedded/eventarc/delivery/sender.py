"""Sends events on the lanes of the fair queue, and records the outcome of each attempt.

If no connection to the function can be opened, all lanes pause and one probe tests the address. When the probe
succeeds, all lanes continue.
"""

import asyncio
import contextlib
import logging
import math
import time
from random import random

from infra.embedded.backoff import Backoff
from infra.embedded.eventarc import metrics
from infra.embedded.eventarc.delivery.delivery import Delivery, State
from infra.embedded.eventarc.delivery.event_reader import EventSelection
from infra.embedded.eventarc.delivery.fair_queue import FairQueue
from infra.embedded.eventarc.delivery.quarantine import Quarantine
from infra.embedded.eventarc.delivery.recorder import Recorder
from infra.embedded.eventarc.http_client import BrokenConnection, Unreachable
from infra.embedded.eventarc.push import Push
from infra.embedded.eventarc.trigger import Trigger

LOG_SECONDS = 1.0
MAX_WITHDRAWN = 100
ADD_LANES_SECONDS = 0.5
PROBE_BACKOFF = Backoff(0.05, 0.5)
UNREACHABLE = "unreachable"  # the reason of a pause

logger = logging.getLogger("eventarc")


class Sender:
    """Sends the events of one trigger."""

    def __init__(self, trigger: Trigger, selection: EventSelection, queue: FairQueue, recorder: Recorder) -> None:
        self.quarantine = Quarantine(trigger.max_crashes)
        self.reachable = asyncio.Event()
        self.reachable.set()
        self.last_acknowledgement = -math.inf  # of an event, not of a notice
        self._silent_since = math.inf  # the first timeout after the last response
        self._works_since = -math.inf  # set when the function works again after a long outage
        self.suspects_in_flight = 0
        self._last_shared_crash = -math.inf  # a connection broke while several events were in flight
        self._trigger = trigger
        self._selection = selection
        self._queue = queue
        self._recorder = recorder
        self._push = Push(trigger)
        self._attempt_durations = {
            outcome: metrics.ATTEMPT_DURATION.labels(trigger.name, outcome) for outcome in metrics.OUTCOMES
        }
        self._dead_letters = metrics.DEAD_LETTERS.labels(trigger.name)
        self._unreachable = asyncio.Event()
        self._unreachable_since: float | None = None
        self._probes = 0
        self._unlogged_failures = 0
        self._last_log = -math.inf

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._probe())
                tasks.create_task(self._add_lanes())
                for _ in range(self._trigger.concurrency):
                    tasks.create_task(self._run_lane())
        finally:
            self._push.client.close()

    async def send_alone(self, delivery: Delivery) -> bool:
        """Send a suspect, or a notice that an event was given up, on a new connection. Record the outcome.

        Return False, without an outcome, if the function cannot be reached.
        """
        delivery.started = time.monotonic()
        try:
            self.suspects_in_flight += 1
            if delivery.is_sent_again(self._trigger):
                await self._attempt(delivery, is_suspect=True)
            else:
                await self._send_notice(delivery)
        except Unreachable as error:
            self._pause(error)
            return False
        finally:
            self.suspects_in_flight -= 1
        return True

    async def _run_lane(self) -> None:
        while True:
            await self._send_next()  # a variable here would keep the event in memory while the lane waits

    async def _send_next(self) -> None:
        delivery = await self._queue.take()
        try:
            await self._attempt(delivery, is_suspect=False)
        except Unreachable as error:
            self._queue.put_back(delivery)
            self._pause(error)
        else:
            self._queue.release(delivery)

    async def _attempt(self, delivery: Delivery, *, is_suspect: bool) -> None:
        """Send an event once and record the outcome. Raises `Unreachable` if it was not sent."""
        problem: str | None
        has_response = True
        started_at = time.monotonic()
        try:
            if delivery.has_row and not self._selection.selects(delivery.change):
                problem = "the trigger has changed and does not select this event any more"
            else:
                problem = await self._push.send(delivery.change, delivery.attempts, reuse=not is_suspect)
        except Unreachable:
            raise
        except BrokenConnection as error:
            self._attempt_durations[metrics.CRASHED].observe(time.monotonic() - started_at)
            self._record_crash(delivery, f"no response: {error}", is_suspect=is_suspect)
            return
        except TimeoutError as error:
            has_response, problem = False, str(error)
        except Exception as error:  # noqa: BLE001 - one event must not stop the delivery of other events
            problem = f"the event cannot be sent: {error!r}"
        outcome = metrics.ACKNOWLEDGED if problem is None else metrics.FAILED
        self._attempt_durations[outcome].observe(time.monotonic() - started_at)
        self._resume()
        self._queue.add_lane()
        self.quarantine.unclear.discard(delivery.sequence)
        now = time.monotonic()
        if problem is None:
            self._record_response(now, is_acknowledgement=True)
            self.quarantine.record_acknowledgement(delivery.group, now)
            self._recorder.acknowledge(delivery)
            return
        if has_response:
            self._record_response(now, is_acknowledgement=False)
        else:
            self._silent_since = min(self._silent_since, now)
        if delivery.first_failure < self._works_since:
            delivery.first_failure = now
        was_given_up = delivery.state is State.GIVEN_UP
        delivery.fail(problem, now, self._trigger, random())
        # A function that responds to no event may not work at all. The event then waits until the function works.
        is_event_the_cause = has_response or self.last_acknowledgement > delivery.started
        if was_given_up and delivery.state is State.GIVEN_UP and is_event_the_cause:
            await self._send_notice(delivery)
            return
        self._recorder.record(delivery)
        self._log_failure(delivery)

    async def _send_notice(self, delivery: Delivery) -> None:
        """Send the notice that an event was given up. Raises `Unreachable` if it was not sent."""
        problem: str | None
        try:
            problem = await self._push.give_up(delivery.change, delivery.attempts, delivery.problem)
        except Unreachable:
            raise
        except (BrokenConnection, TimeoutError) as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - one event must not stop the delivery of other events
            problem = repr(error)
        if problem is None:
            self.quarantine.record_acknowledgement(delivery.group, time.monotonic())
            delivery.state = State.DEAD
            self._dead_letters.inc()
            logger.error("%s: %s is now a dead letter", self._trigger.name, delivery.change.name)
        else:
            delivery.fail_notice(problem, time.monotonic(), self._trigger, random())
        self._recorder.record(delivery)

    def _record_response(self, now: float, *, is_acknowledgement: bool) -> None:
        """Record a response to an event. It may end an outage that was longer than the retention.

        The retention of all events then starts again, because failures during an outage do not show that an event is
        the cause.
        """
        down_since = self._silent_since
        self._silent_since = math.inf
        if is_acknowledgement:
            down_since = min(down_since, self.last_acknowledgement)
            self.last_acknowledgement = now
        if now - down_since >= self._trigger.retention_seconds:
            self._works_since = now

    def _record_crash(self, delivery: Delivery, problem: str, *, is_suspect: bool) -> None:
        """Record that the connection broke. This counts as a crash of the event only if the event was alone."""
        now = time.monotonic()
        if len(self._queue.in_flight) + self.suspects_in_flight > 1:
            self._last_shared_crash = now
        is_alone = delivery.started > self._last_shared_crash  # a crash breaks the connections one after the other
        if is_alone and not is_suspect:
            self._quarantine_next(delivery.group, now)
        self._queue.start_slowly()
        self.quarantine.record_crash(delivery.group if is_alone else None, delivery.started, now)
        self._restrict_groups()
        delivery.crash(problem, now, self._trigger, is_alone=is_alone)
        if not delivery.is_sent_again(self._trigger):
            self.quarantine.unclear.discard(delivery.sequence)
        elif is_suspect and not is_alone:
            self.quarantine.unclear.add(delivery.sequence)
        self._recorder.record(delivery)
        self._log_failure(delivery)

    def _quarantine_next(self, group: int, now: float) -> None:
        """Quarantine the next events of a group, because poison events often arrive together."""
        for delivery in self._queue.withdraw(group, MAX_WITHDRAWN):
            delivery.state = State.QUARANTINED
            delivery.problem = "not sent: an earlier event of its group crashed the function"
            delivery.due = now
            self._recorder.record(delivery)

    async def _add_lanes(self) -> None:
        while True:
            await asyncio.sleep(ADD_LANES_SECONDS)
            if self.reachable.is_set():
                self._queue.add_lanes()
            self._restrict_groups()

    def _restrict_groups(self) -> None:
        now = time.monotonic()
        groups = self.quarantine.restricted_groups(now, self._queue.groups)
        if groups or self._queue.restricted:
            self._queue.restrict(groups, holds_all=self.quarantine.must_wait(now, is_idle=self._queue.is_idle))

    async def _probe(self) -> None:
        while True:
            await self._unreachable.wait()
            self._probes += 1
            await asyncio.sleep(PROBE_BACKOFF.seconds(self._probes))
            with contextlib.suppress(Unreachable):
                await self._push.client.probe()
                self._unreachable.clear()
                self.reachable.set()
                self._queue.resume(UNREACHABLE)

    def _pause(self, error: Unreachable) -> None:
        self._queue.pause(UNREACHABLE)
        self.reachable.clear()
        self._unreachable.set()
        if self._unreachable_since is None:
            self._queue.start_slowly()
            self._unreachable_since = time.monotonic()
            logger.warning(
                "%s: cannot reach %s; events wait until this URL is reachable: %s",
                self._trigger.name,
                self._trigger.url,
                error,
            )

    def _resume(self) -> None:
        if self._unreachable_since is not None:
            seconds = time.monotonic() - self._unreachable_since
            logger.warning("%s: %s is reachable again after %.1f s", self._trigger.name, self._trigger.url, seconds)
            self._unreachable_since = None
            self._probes = 0

    def _log_failure(self, delivery: Delivery) -> None:
        """Log a dead letter, or the number of failed attempts and the last problem once per `LOG_SECONDS`."""
        name, document = self._trigger.name, delivery.change.name
        if delivery.state is State.DEAD:
            self._dead_letters.inc()
            logger.error("%s: %s is now a dead letter: %s", name, document, delivery.problem)
            return
        if delivery.state is State.GIVEN_UP:
            is_over = delivery.is_sent_again(self._trigger)
            what = "has failed for longer than the retention" if is_over else "is not sent again"
            logger.error("%s: %s %s: %s", name, document, what, delivery.problem)
            return
        self._unlogged_failures += 1
        now = time.monotonic()
        if now - self._last_log >= LOG_SECONDS:
            logger.warning(
                "%s: %d failed attempts, the last for %s: %s", name, self._unlogged_failures, document, delivery.problem
            )
            self._unlogged_failures, self._last_log = 0, now
