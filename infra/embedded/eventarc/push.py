"""One event, one POST: sent as Eventarc does, and judged by its answer.

The trap is the difference between a function that answers with a fault and one that is not there:
the first is the event's own affair, the second (http.Unreachable) says nothing about the event and stands
for all that wait. A connection that breaks after the request was sent is a fault of the first kind: it
may be this very event that brings the function down.
"""

import asyncio
from collections.abc import Callable
from random import Random

from infra.embedded.eventarc import cloudevent
from infra.embedded.eventarc.http import Address, Broken
from infra.embedded.eventarc.trigger import FaultInjection, Trigger
from infra.embedded.firestore.storage.storage import Change

ACKNOWLEDGING = frozenset({200, 201, 202, 204})  # as Pub/Sub push; 102 is never a final answer
REORDER_SECONDS = 0.5
MAX_PROBLEM_LENGTH = 300


class Push:
    """Sends the events of one trigger."""

    def __init__(self, trigger: Trigger) -> None:
        """Nothing is connected before the first event."""
        self.address = Address(trigger.url)
        self._trigger = trigger
        self._kind = trigger.kind
        self._deadline = trigger.deadline

    async def send(self, change: Change, attempts: int) -> str | None:
        """Send the event; return None if it was acknowledged, else the problem. Unreachable if nobody is there."""
        fault_injection = self._trigger.fault_injection
        if fault_injection is None:
            return await self._post(change)
        random = Random(f"{fault_injection.seed}/{change.sequence}/{attempts}")
        return await self._inject_faults(change, fault_injection, random.random)

    async def _post(self, change: Change) -> str | None:
        headers = cloudevent.headers(change, self._kind, self._trigger.location)
        body = cloudevent.body(change, self._trigger.max_body_bytes)
        try:
            answer = await self.address.post(headers, body, self._deadline)
        except TimeoutError:
            return f"no acknowledgement within {self._deadline:g} s"
        except Broken as error:
            return f"no answer: {error}"
        if answer.status in ACKNOWLEDGING:
            return None
        return f"{answer.status} {answer.body[:MAX_PROBLEM_LENGTH].decode(errors='replace')}"

    async def _inject_faults(
        self, change: Change, fault_injection: FaultInjection, random: Callable[[], float]
    ) -> str | None:
        if random() < fault_injection.delay:
            await asyncio.sleep(random() * fault_injection.delay_seconds)
        if random() < fault_injection.reorder:
            await asyncio.sleep(random() * REORDER_SECONDS)
        if random() < fault_injection.duplicate:
            problem, _ = await asyncio.gather(self._post(change), self._post(change))
        else:
            problem = await self._post(change)
        if random() < fault_injection.drop_acknowledgement:
            return "the acknowledgement was dropped on purpose"
        return problem
