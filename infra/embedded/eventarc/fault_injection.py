"""Fault injection: events are delayed, reordered, duplicated, repeated or lost on purpose.

At-least-once delivery without a guaranteed order can cause all of these faults, except a loss. Tests use this module to
check that a function handles the faults. The same seed causes the same faults.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Annotated

import msgspec

MAX_REORDER_SECONDS = 0.5

Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class FaultInjection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The probability of each fault, for each attempt to send an event."""

    seed: int = 0
    duplicate_probability: Probability = 0
    """The event is sent twice at the same time."""
    delay_probability: Probability = 0
    """The event waits for up to `max_delay_seconds`."""
    max_delay_seconds: Seconds = 5.0
    reorder_probability: Probability = 0
    """The event waits for up to 0.5 s, so that later events overtake it."""
    drop_acknowledgement_probability: Probability = 0
    """The event is delivered, but the attempt counts as failed."""
    loss_probability: Probability = 0
    """The event is not sent at all, but counts as acknowledged. This fault affects the first attempt only."""

    async def send(self, post: Callable[[], Awaitable[str | None]], sequence: int, failed_attempts: int) -> str | None:
        """Call `post` with the faults of this attempt. Return the problem, or None if the event was acknowledged."""
        random = Random(f"{self.seed}/{sequence}/{failed_attempts}").random
        if not failed_attempts and self.loss_probability and random() < self.loss_probability:
            return None
        if random() < self.delay_probability:
            await asyncio.sleep(random() * self.max_delay_seconds)
        if random() < self.reorder_probability:
            await asyncio.sleep(random() * MAX_REORDER_SECONDS)
        if random() < self.duplicate_probability:
            problem, _ = await asyncio.gather(post(), post())
        else:
            problem = await post()
        if random() < self.drop_acknowledgement_probability:
            return "fault injection dropped the acknowledgement"
        return problem
