"""Results are watched as they appear.

The seam between what was written and what comes is a moment that Firestore has said everything about: behind it
all comes live, up to it all can be read. So nothing is missing or doubled, whatever is written meanwhile. A
result that is computed again is written again: it comes again, behind what came before, with a new cursor.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from graphql_api import metrics
from graphql_api.auth.scopes import Scope
from graphql_api.graphql_server import SharedEvent
from graphql_api.live.written_result import Position, WrittenResult
from graphql_api.results.filters import matches
from graphql_api.results.pagination import Cursor
from graphql_api.schema.context import Info
from graphql_api.schema.query import Id, RecomputationId
from graphql_api.schema.required_scopes import requires
from graphql_api.schema.types.connections import ResultEdge
from graphql_api.schema.types.inputs import ResultFilter
from graphql_api.schema.types.recomputation import RecomputationType
from graphql_api.schema.types.result import Result
from graphql_api.schema.types.sample import Sample
from storage.documents import NotFound, Status
from storage.documents import Result as StoredResult


@strawberry.type(description="What can be watched.")
class Subscription:
    """One sample, or all results."""

    @strawberry.subscription(
        description=(
            "A sample in each state that it comes to. Completes after the last one, at once where it is there already."
        ),
        metadata=requires(Scope.READ),
    )
    async def sample(self, info: Info, id: Id) -> AsyncGenerator[Sample, None]:  # noqa: A002 - the name in the contract
        """Follow one sample to its end."""
        context = info.context
        async with context.live.watch(context.caller.submitter) as log:
            with log.expect(id) as result_written:
                header = await context.headers.load(id)
                if header is None:
                    raise NotFound("there is no such sample")
                pending = not header.problems and await context.results.load(id) is None
                yield Sample.of(header)
                if pending:
                    await result_written
                    context.forget()
                    metrics.DELIVERED.inc()
                    yield Sample.of(header)

    @strawberry.subscription(
        description=(
            "Results as they are computed, in the order in which they were stored. With `after`, first those that were "
            "stored behind that cursor, then live, with no gap and none twice. A result that is computed again comes "
            "again, with a new cursor. Who reads nothing for a while ends with the error TOO_SLOW (a WebSocket is "
            "closed with 4490) and with the cursor to go on from."
        ),
        metadata=requires(Scope.READ),
    )
    async def results(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the name in the contract
            ResultFilter | None, strawberry.argument(description="Which results; all unless said.")
        ] = None,
        after: Annotated[
            str | None, strawberry.argument(description="The last cursor you had; only new results without it.")
        ] = None,
    ) -> AsyncGenerator[ResultEdge, None]:
        """Follow the results that pass the filter."""
        context = info.context
        bounds = [] if filter is None else filter.bounds()
        position = None if after is None else _position(Cursor.decode(after))
        async with aclosing(context.live.follow(context.caller.submitter, position)) as following:
            async for written in following:
                result = written.result
                if result is not None and result.status is Status.COMPUTED and matches(bounds, result):
                    metrics.DELIVERED.inc()
                    context.forget()
                    yield _edge(written, result)

    @strawberry.subscription(
        description=(
            "How far a recomputation is, whenever that changes. Completes when it no longer runs. Takes a key with the "
            "scope `admin`."
        ),
        metadata=requires(Scope.ADMIN),
    )
    async def recomputation(
        self,
        info: Info,
        id: RecomputationId,  # noqa: A002 - the name in the contract
    ) -> AsyncGenerator[RecomputationType, None]:
        """Follow a recomputation to its end."""
        async with aclosing(info.context.recomputer.watch(info.context.caller.submitter, id)) as changes:
            async for recomputation in changes:
                yield RecomputationType.of(recomputation)


class _Edge(ResultEdge, SharedEvent):
    """An edge that is answered once for all who ask the same of it."""


def _edge(written: WrittenResult, result: StoredResult) -> ResultEdge:
    """Return what subscribers are shown, the same object to all."""
    if not isinstance(written.event, _Edge):
        written_at, sample_id = written.position
        written.event = _Edge(cursor=Cursor(written_at=written_at, id=sample_id).encode(), node=Result.of(result))
    return written.event


def _position(cursor: Cursor) -> Position:
    return cursor.written_at, cursor.id
