"""The subscriptions to a sample, to results, to removals and to a recomputation.

A subscription to results first reads the results that are stored at one read time. It then receives all results that
are written after this read time. The subscription therefore returns each result once. A recomputation writes a result
again. The subscription then returns the new result, with a new cursor.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated

import strawberry

from graphql_api import metrics
from graphql_api.graphql_server import SharedEvent
from graphql_api.live.listener import Position, WrittenResult
from graphql_api.results.filters import EVERYTHING
from graphql_api.results.pagination import Cursor
from graphql_api.schema.arguments import OptionalResultFilter, RecomputationId, SampleId
from graphql_api.schema.context import Info
from graphql_api.schema.required_scopes import requires
from graphql_api.schema.types.connections import ResultEdge
from graphql_api.schema.types.deletion import Removal, RemovalEdge
from graphql_api.schema.types.inputs import selection_of
from graphql_api.schema.types.recomputation import RecomputationType
from graphql_api.schema.types.result import Result
from graphql_api.schema.types.sample import Sample
from graphql_api.scopes import Scope
from storage.documents import NotFound, SampleState, Status
from storage.documents import Result as StoredResult

_BEGINNING: Position = (datetime.min.replace(tzinfo=UTC), "")
"""The position before all results."""


@strawberry.type(
    description="All subscriptions return data of the submitter to which the API key or the access token belongs."
)
class Subscription:
    """The fields of `subscription`."""

    @strawberry.subscription(
        description=(
            "Returns the sample immediately. If the sample is PENDING, the subscription returns it again when its "
            "state changes. Completes when the sample is not PENDING."
        ),
        metadata=requires(Scope.READ),
    )
    async def sample(self, info: Info, sample_id: SampleId) -> AsyncGenerator[Sample, None]:
        """Yield the sample once, or twice if it is pending. Raises `NotFound`.

        A write can concern an earlier sample with the same id, such as its deletion. The sample then stays pending. If
        the sample expires, no result is written.
        """
        context = info.context
        async with context.live.watch(context.caller.submitter) as log:
            header = await context.headers.load(sample_id)
            if header is None:
                raise NotFound("the sample does not exist - at `id`")
            sample, was_pending = Sample.of(header), False
            while True:
                with log.expect(sample_id) as result_written:
                    if await sample.current_state(info) is not SampleState.PENDING:
                        break
                    if not was_pending:
                        yield sample
                    was_pending = True
                    seconds = await context.store.seconds_to_expiry(sample.header)
                    await asyncio.wait({result_written}, timeout=seconds)
                    if result_written.done():
                        result_written.result()
                    else:  # a correction can have changed the time of expiry
                        context.headers.clear_all()
                        header = await context.headers.load(sample_id)
                        sample = sample if header is None else Sample.of(header)
                context.results.clear_all()
            if was_pending:
                metrics.DELIVERED.inc()
            yield sample

    @strawberry.subscription(
        description=(
            "Returns results in the order in which they are stored. If `after` is set, the subscription first returns "
            "the results that were stored after this cursor. It returns each of these results exactly once. When a "
            "result is recomputed, the subscription returns the new result with a new cursor. A client that reads too "
            "slowly receives the error TOO_SLOW with the last cursor. To resume, subscribe again with this cursor as "
            "`after`. After this error, the server closes a WebSocket with the code 4490."
        ),
        metadata=requires(Scope.READ),
    )
    async def results(
        self,
        info: Info,
        result_filter: OptionalResultFilter = None,
        after: Annotated[
            str | None,
            strawberry.argument(
                description=(
                    "The last cursor that the client received. With an empty string, the subscription starts with the "
                    "first stored result. By default, only new results are returned."
                )
            ),
        ] = None,
    ) -> AsyncGenerator[ResultEdge, None]:
        """Yield the computed results that pass the filter."""
        context, selection = info.context, selection_of(result_filter)
        async with aclosing(context.live.follow(context.caller, _position(after))) as written_results:
            async for written in written_results:
                result = written.result
                if result is None or result.status is not Status.COMPUTED:
                    continue
                if selection is EVERYTHING or selection.matches(result):
                    metrics.DELIVERED.inc()
                    yield _shared_edge(written, result)

    @strawberry.subscription(
        description=(
            "Returns each sample that is deleted or superseded. The result of such a sample is removed from all "
            "lists. A removal is returned again if its sample is recomputed. If `after` is set, the subscription first "
            "returns the removals after this cursor. It also accepts cursors of the subscription `results`."
        ),
        metadata=requires(Scope.READ),
    )
    async def removals(
        self,
        info: Info,
        after: Annotated[
            str | None,
            strawberry.argument(
                description=(
                    "The last cursor that the client received. With an empty string, the subscription starts with the "
                    "first stored removal. By default, only new removals are returned."
                )
            ),
        ] = None,
    ) -> AsyncGenerator[RemovalEdge, None]:
        """Yield a removal for each tombstone and each superseded result that is written."""
        context = info.context
        async with aclosing(context.live.follow(context.caller, _position(after))) as written_results:
            async for written in written_results:
                written_at, sample_id = written.position
                removal = Removal.of(written_at, sample_id, written.result, written.tombstone)
                if removal is not None:
                    metrics.DELIVERED.inc()
                    yield RemovalEdge(cursor=Cursor(written_at=written_at, id=sample_id).encode(), node=removal)

    @strawberry.subscription(
        description=(
            "Returns the progress of a recomputation each time it changes. Completes when the recomputation ends."
        ),
        metadata=requires(Scope.ADMIN),
    )
    async def recomputation(
        self, info: Info, recomputation_id: RecomputationId
    ) -> AsyncGenerator[RecomputationType, None]:
        """Yield the progress of the recomputation until it ends."""
        submitter = info.context.caller.submitter
        async with aclosing(info.context.recomputer.watch(submitter, recomputation_id)) as changes:
            async for recomputation in changes:
                yield RecomputationType.of(recomputation)


def _position(after: str | None) -> Position | None:
    """Return the position in the log of results at which a cursor of a client is. Raises `BadRequest`."""
    if after is None:
        return None
    if not after:
        return _BEGINNING
    cursor = Cursor.decode(after)
    return cursor.written_at, cursor.id


class _SharedEdge(ResultEdge, SharedEvent):
    """An edge whose response is encoded once for all subscribers with the same selection."""


def _shared_edge(written: WrittenResult, result: StoredResult) -> ResultEdge:
    """Return the edge of a written result: the same object for all subscribers."""
    if not isinstance(written.event, _SharedEdge):
        written_at, sample_id = written.position
        cursor = Cursor(written_at=written_at, id=sample_id).encode()
        written.event = _SharedEdge(cursor=cursor, node=Result.of(result))
    return written.event
