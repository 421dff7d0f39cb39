"""Spans of writes, if tracing is on: one per commit, and one per BatchWrite that is linked to its commits."""

from collections.abc import Iterable, Sequence
from typing import Any

from observability import tracing


def start_batch_write(commits_of_writes: Sequence[Any], database: str) -> Any:
    """Start a span for a BatchWrite. It belongs to the trace of the first commit, and is linked to all commits.

    `commits_of_writes` has the span of the commit of each write, or None. Return None if there are only None.
    """
    commits = list({id(commit): commit for commit in commits_of_writes if commit is not None}.values())
    if not commits:
        return None
    parents = [tracing.traceparent(commit) for commit in commits]
    span = tracing.start(
        "BatchWrite",
        "CLIENT",
        parent=parents[0],
        links=parents[1:],
        attributes={
            "db.system.name": "gcp.firestore",
            "db.namespace": database,
            "db.operation.name": "BatchWrite",
            "db.operation.batch.size": len(commits_of_writes),
        },
    )
    for commit in commits:
        if span is not None:
            tracing.link(commit, span)
    return span


def problem_of(outcomes: Iterable[object]) -> str | None:
    """Return the class of the first outcome that is an error, or None."""
    return next((type(each).__name__ for each in outcomes if isinstance(each, Exception)), None)
