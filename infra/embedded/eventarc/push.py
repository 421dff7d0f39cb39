"""One event, one POST request, sent and acknowledged as Eventarc does it.

If the function cannot be reached at all (`Unreachable`), nothing is known about the event: it keeps its
attempts, and delivery pauses. Every other failure is a failed attempt of this event. That includes a
connection that breaks after the request was sent, because this event may be what crashes the function.
"""

from functools import partial

from infra.embedded.eventarc import cloudevent
from infra.embedded.eventarc.http_client import BrokenConnection, HttpClient
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore.storage.storage import Change

ACKNOWLEDGING_STATUSES = frozenset({200, 201, 202, 204})  # as Pub/Sub push; 102 is never a final response
MAX_PROBLEM_BYTES = 300


class Push:
    """Sends the events of one trigger."""

    def __init__(self, trigger: Trigger) -> None:
        """Connects with the first event."""
        self.client = HttpClient(trigger.url)
        self._trigger = trigger
        self._kind = trigger.kind
        self._deadline_seconds = trigger.deadline_seconds

    async def send(self, change: Change, failed_attempts: int) -> str | None:
        """Send the event; return None if it was acknowledged, else the problem. Raises `Unreachable`."""
        faults = self._trigger.fault_injection
        if faults is None:
            return await self._post(change)
        return await faults.send(partial(self._post, change), change.sequence, failed_attempts)

    async def _post(self, change: Change) -> str | None:
        headers = cloudevent.headers(change, self._kind, self._trigger.location)
        body = cloudevent.body(change, self._trigger.max_body_bytes)
        try:
            response = await self.client.post(headers, body, self._deadline_seconds)
        except TimeoutError:
            return f"no acknowledgement within {self._deadline_seconds:g} s"
        except BrokenConnection as error:
            return f"no response: {error}"
        if response.status in ACKNOWLEDGING_STATUSES:
            return None
        return f"{response.status} {response.body[:MAX_PROBLEM_BYTES].decode(errors='replace')}"
