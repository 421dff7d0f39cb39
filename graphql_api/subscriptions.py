"""Results are watched as they appear.

The seam between what is stored and what comes live: the watch begins first, then what is stored is
read, and what the watch had gathered meanwhile is passed over as far as the reading got. Both are in the
order of the writes, so one comparison decides, and nothing is missing or doubled.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from documents import NotFound, Status
from graphql_api import metrics
from graphql_api.auth import Scope
from graphql_api.context import Context, Info
from graphql_api.filters import ResultFilter, holds
from graphql_api.pages import Cursor
from graphql_api.queries import Id
from graphql_api.store import Place, Written
from graphql_api.types import Result, ResultEdge, Sample

_BEHIND_ALL_IDS = chr(0x10FFFF)


@strawberry.type(description="What can be watched.")
class Subscription:
    """One sample, or all results."""

    @strawberry.subscription(
        description=(
            "A sample in each state that it comes to. Completes after the last one, at once where it is there already."
        )
    )
    async def sample(self, info: Info, id: Id) -> AsyncGenerator[Sample, None]:  # noqa: A002 - the name in the contract
        """Follow one sample to its end."""
        context = info.context
        context.caller.require(Scope.READ)
        async with context.live.watch(context.caller.submitter, id) as watch:
            header = await context.headers.load(id)
            if header is None:
                raise NotFound("there is no such sample")
            pending = not header.problems and await context.results.load(id) is None
            yield Sample.of(header)
            if pending:
                async with aclosing(aiter(watch)) as results:
                    await anext(results)
                context.results.clear(id)
                metrics.DELIVERED.inc()
                yield Sample.of(header)

    @strawberry.subscription(
        description=(
            "Results as they are computed, in the order in which they were stored. With `after`, first those that were "
            "stored behind that cursor, then live, with no gap and none twice."
        )
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
        info.context.caller.require(Scope.READ)
        bounds = [] if filter is None else filter.bounds()
        place = None if after is None else _place(Cursor.decode(after))
        async with aclosing(_written_after(info.context, place)) as following:
            async for written in following:
                result = written.result
                if result.status is Status.COMPUTED and holds(bounds, result):
                    metrics.DELIVERED.inc()
                    cursor = Cursor(written_at=written.at, id=result.sample_id)
                    yield ResultEdge(cursor=cursor.encode(), node=Result.of(result))


async def _written_after(context: Context, place: Place | None) -> AsyncGenerator[Written, None]:
    """Yield what was written after `place`, or from now on, for as long as it is read.

    What a watch had no room for is read from Firestore instead: a reader may be as slow as it likes.
    """
    submitter = context.caller.submitter
    while True:
        async with context.live.watch(submitter) as watch:
            if place is None:
                place = (watch.since, _BEHIND_ALL_IDS)
            else:
                async with aclosing(context.store.results_written_after(submitter, place)) as stored:
                    async for written in stored:
                        place = written.place()
                        yield written
            async with aclosing(aiter(watch)) as live:
                async for written in live:
                    if written.place() > place:
                        place = written.place()
                        yield written


def _place(cursor: Cursor) -> Place:
    return cursor.written_at, cursor.id
