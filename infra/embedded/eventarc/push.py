"""Sends an event as one POST request, and treats the response as Eventarc does.

If no connection to the function can be opened (`Unreachable`), the event was not sent. This does not count as a failed
attempt, and delivery pauses. If the connection breaks after the request was sent (`BrokenConnection`), the event may
have crashed the function. If the function does not respond, the error is `TimeoutError`. Every other failure is
returned as a problem.
"""

from functools import partial
from typing import Any

from infra.embedded.eventarc import cloudevent
from infra.embedded.eventarc.http_client import HttpClient
from infra.embedded.eventarc.trigger import Trigger
from infra.embedded.firestore import messages
from infra.embedded.firestore.storage.versions import Change
from observability import tracing

ACKNOWLEDGING_STATUSES = frozenset({200, 201, 202, 204})  # as in Pub/Sub push, without the interim status 102
MAX_PROBLEM_BYTES = 300


class Push:
    """Sends the events of one trigger."""

    def __init__(self, trigger: Trigger) -> None:
        """Create the client. It opens a connection when the first event is sent."""
        self.client = HttpClient(trigger.url)
        self._trigger = trigger
        self._kind = trigger.event_type.removeprefix(cloudevent.EVENT_TYPE_PREFIX)
        self._deadline_seconds = trigger.deadline_seconds
        self._authorization = None if trigger.token is None else f"Bearer {trigger.token}"

    async def send(self, change: Change, failed_attempts: int, *, reuse: bool = True) -> str | None:
        """Send the event. Return the problem, or None if the event was acknowledged.

        Raises `Unreachable`, `BrokenConnection` and `TimeoutError`. Without `reuse`, the event is sent on a new
        connection.
        """
        if not tracing.is_on:
            return await self._send(change, failed_attempts, "", reuse=reuse)
        span = self._start_span(change, failed_attempts + 1)
        trace = "" if span is None else tracing.traceparent(span)
        try:
            problem = await self._send(change, failed_attempts, trace, reuse=reuse)
        except BaseException as error:
            tracing.end(span, str(error) or type(error).__name__)
            raise
        tracing.end(span, problem)
        return problem

    async def give_up(self, change: Change, attempts: int, problem: str) -> str | None:
        """Send the notice that an event was given up. Return and raise as `send` does."""
        headers = cloudevent.given_up_headers(change, self._kind, self._trigger.location, attempts, problem)
        return await self._post(headers, b"", reuse=False)

    def _start_span(self, change: Change, attempt: int) -> Any:
        """Start a span of the trace that the document names, or return None."""
        field = self._trigger.traceparent_field
        if field is None or not change.new or field.encode() not in change.new:
            return None
        parent = messages.Document.FromString(change.new).fields[field].string_value
        if not parent:
            return None
        return tracing.start(
            f"deliver {self._trigger.name}",
            "PRODUCER",
            parent=parent,
            attributes={"messaging.operation.type": "send", "messaging.delivery.attempt": attempt},
        )

    async def _send(self, change: Change, failed_attempts: int, trace: str, *, reuse: bool) -> str | None:
        faults = self._trigger.fault_injection
        if faults is None:
            return await self._post_event(change, trace, reuse=reuse)
        post = partial(self._post_event, change, trace, reuse=reuse)
        return await faults.send(post, change.sequence, failed_attempts)

    async def _post_event(self, change: Change, trace: str, *, reuse: bool) -> str | None:
        headers = cloudevent.headers(change, self._kind, self._trigger.location)
        if trace:
            headers["ce-traceparent"] = trace
        return await self._post(headers, cloudevent.body(change, self._trigger.max_body_bytes), reuse=reuse)

    async def _post(self, headers: dict[str, str], body: bytes, *, reuse: bool) -> str | None:
        if self._authorization is not None:
            headers["authorization"] = self._authorization
        try:
            response = await self.client.post(headers, body, self._deadline_seconds, reuse=reuse)
        except TimeoutError as error:
            raise TimeoutError(f"no acknowledgement within {self._deadline_seconds:g} s") from error
        if response.status in ACKNOWLEDGING_STATUSES:
            return None
        return f"{response.status} {response.body[:MAX_PROBLEM_BYTES].decode(errors='replace')}"
