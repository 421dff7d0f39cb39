"""The context of the request that the current task serves. Log lines and error responses contain it.

A client may send its own id in the header `x-request-id`, and the trace of the request in `traceparent` (W3C Trace
Context). Both are used only if they are well-formed, so no client can write other text into a log.

Note: a task inherits the context of the code that creates it. If a task outlives the request and does not work for it,
create it with `context=contextvars.Context()`.
"""

import random
import re
from contextvars import ContextVar

MAX_REQUEST_ID_CHARACTERS = 128

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,%d}" % MAX_REQUEST_ID_CHARACTERS)
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED = 1


class RequestContext:
    """The id, the trace and the submitter of one request."""

    __slots__ = ("is_sampled", "request_id", "span_id", "submitter", "trace_id")

    def __init__(self, request_id: bytes = b"", traceparent: bytes = b"") -> None:
        """Use the values of the headers `x-request-id` and `traceparent`, if they are well-formed."""
        self.request_id = (
            request_id.decode() if _REQUEST_ID.fullmatch(request_id) else f"{random.getrandbits(128):032x}"
        )
        self.trace_id = self.span_id = self.submitter = ""
        self.is_sampled = False
        if traceparent and (match := _TRACEPARENT.fullmatch(traceparent)):
            self.trace_id, self.span_id = match[1].decode(), match[2].decode()
            self.is_sampled = bool(int(match[3], 16) & _SAMPLED)

    @property
    def traceparent(self) -> str:
        """The value of `traceparent` with which other processes continue the trace. Empty without a trace."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}" if self.trace_id else ""


_current: ContextVar[RequestContext | None] = ContextVar("request", default=None)

current = _current.get
"""Return the context of the current request, or None outside of requests."""

enter = _current.set
"""Set the context of the current request. The server runs each request in a task, so the context ends with it."""


def set_submitter(submitter: str) -> None:
    """Add the authenticated submitter to the current request."""
    context = current()
    if context is not None:
        context.submitter = submitter


def traceparent() -> str:
    """Return the `traceparent` of the current request. Empty outside of requests and without a trace."""
    context = current()
    return "" if context is None else context.traceparent


def request_id() -> str:
    """Return the id of the current request. Empty outside of requests."""
    context = current()
    return "" if context is None else context.request_id
