"""Spans of calls to Firestore, by the semantic conventions of OpenTelemetry for database clients.

A call has a span if tracing is on, and if the call belongs to a request whose trace is recorded. A BatchWrite that
several requests share belongs to the trace of the first request.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from observability import request_context, tracing
from storage.firestore.messages import BatchWriteRequest, Message

ErrorT = TypeVar("ErrorT", bound=Exception)

_SYSTEM = "gcp.firestore"


class Spans:
    """Starts the spans of calls to one database. `server` is the address of Firestore, with its port if it has one."""

    def __init__(self, database: str, server: str) -> None:
        self._database = database
        self._attributes: dict[str, str | int] = {"db.system.name": _SYSTEM, "db.namespace": database}
        if server:
            address, _, port = server.removeprefix("unix:").partition(":")
            self._attributes["server.address"] = address
            if port.isdecimal():
                self._attributes["server.port"] = int(port)

    def start_read(self, request: Message) -> Any:
        """Start the span of a read in the trace of the current request, or return None."""
        parent = _recorded_trace()
        if not parent:
            return None
        if request.DESCRIPTOR.name == "BatchGetDocumentsRequest":
            return self._start(request, _collection(request.documents), len(request.documents), parent)
        is_aggregation = request.DESCRIPTOR.name == "RunAggregationQueryRequest"
        query = (request.structured_aggregation_query if is_aggregation else request).structured_query
        return self._start(request, query.from_[0].collection_id, 1, parent)

    def start_batch_write(self, request: BatchWriteRequest, commits_of_writes: Sequence[Any]) -> Any:
        """Start the span of a BatchWrite, and link it to the commits of all its writes.

        `commits_of_writes` has the span of the commit of each write, or None. If all of them are None, return None.
        """
        commits = list({id(commit): commit for commit in commits_of_writes if commit is not None}.values())
        if not commits:
            return None
        parents = [tracing.traceparent(commit) for commit in commits]
        names = [write.delete or write.update.name for write in request.writes]
        span = self._start(request, _collection(names), len(names), parents[0], parents[1:])
        for commit in commits:
            if span is not None:
                tracing.link(commit, span)
        return span

    def _start(self, request: Message, collection: str, size: int, parent: str, links: Sequence[str] = ()) -> Any:
        operation = request.DESCRIPTOR.name.removesuffix("Request")
        attributes = self._attributes | {"db.operation.name": operation}
        if collection:
            attributes["db.collection.name"] = collection
        if size > 1:
            attributes["db.operation.batch.size"] = size
        name = f"{operation} {collection or self._database}"
        return tracing.start(name, "CLIENT", parent=parent, links=links, attributes=attributes)


def start_commit() -> Any:
    """Start the span of the writes of the current request, which wait for a BatchWrite, or return None."""
    parent = _recorded_trace()
    return tracing.start("commit", "INTERNAL", parent=parent) if parent else None


def end_commit(span: Any, outcomes: Iterable[object]) -> None:
    """End the span of a commit. If one of the outcomes is an error, the span has failed."""
    for each in outcomes:
        if isinstance(each, Exception):
            failed(span, each)
            return
    end(span)


def failed(span: Any, error: ErrorT) -> ErrorT:
    """End a span as failed, with the class of an error or the status that Firestore returned. Return the error."""
    if span is not None:
        status = getattr(error, "status", None)
        attributes = {} if status is None else {"db.response.status_code": status.name}
        kind = type(error).__name__ if status is None else status.name
        tracing.end(span, getattr(error, "reason", kind), **attributes, **{"error.type": kind})
    return error


def end(span: Any) -> None:
    """End a span, unless it is None or has ended."""
    if span is not None and span.is_recording():
        tracing.end(span)


def _recorded_trace() -> str:
    """Return the `traceparent` of the current request if its trace is recorded, otherwise ""."""
    context = request_context.current()
    return context.traceparent if context is not None and context.is_sampled else ""


def _collection(names: Iterable[str]) -> str:
    """Return the id of the collection of all documents, or "" if they are in several collections."""
    ids = {name.rsplit("/", 2)[-2] for name in names}
    return ids.pop() if len(ids) == 1 else ""
