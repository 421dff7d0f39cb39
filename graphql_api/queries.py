"""Samples and results are looked up."""

from typing import Annotated

import strawberry

from graphql_api.auth import Scope
from graphql_api.context import Info
from graphql_api.filters import ResultFilter, ResultOrder, SampleFilter
from graphql_api.pages import Cursor, Order, page_size
from graphql_api.types import PageInfo, Result, ResultConnection, ResultEdge, Sample, SampleConnection, SampleEdge

Id = Annotated[strawberry.ID, strawberry.argument(description="The id that the receipt gave.")]
First = Annotated[int | None, strawberry.argument(description="How many at most: 50 unless said, up to 500.")]
After = Annotated[str | None, strawberry.argument(description="Go on behind this cursor of an earlier answer.")]
LATEST_FIRST = Order("timestamp", descending=True)


@strawberry.type(description="What can be asked. A key sees its own submitter's samples and results.")
class Query:
    """Single documents and pages of them."""

    @strawberry.field(description="The sample with this id, or null.")
    async def sample(self, info: Info, id: Id) -> Sample | None:  # noqa: A002 - the name in the contract
        """Load one sample."""
        info.context.caller.require(Scope.READ)
        header = await info.context.headers.load(id)
        return None if header is None else Sample.of(header)

    @strawberry.field(description="The result of the sample with this id, or null where there is none (yet).")
    async def result(self, info: Info, id: Id) -> Result | None:  # noqa: A002 - the name in the contract
        """Load one result."""
        info.context.caller.require(Scope.READ)
        result = await info.context.results.load(id)
        return None if result is None or result.statistics is None else Result.of(result)

    @strawberry.field(description="Computed results in pages, the latest time stamp first unless said otherwise.")
    async def results(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the name in the contract
            ResultFilter | None, strawberry.argument(description="Which results; all unless said.")
        ] = None,
        order_by: Annotated[ResultOrder | None, strawberry.argument(description="In which order.")] = None,
        first: First = None,
        after: After = None,
    ) -> ResultConnection:
        """Load a page of results."""
        context = info.context
        context.caller.require(Scope.READ)
        behind = None if after is None else Cursor.decode(after)
        page = await context.store.list_results(
            context.caller.submitter,
            [] if filter is None else filter.bounds(),
            LATEST_FIRST if order_by is None else order_by.order(),
            page_size(first),
            behind,
        )
        edges = [ResultEdge(cursor=cursor.encode(), node=Result.of(result)) for cursor, result in page.edges]
        return ResultConnection(edges=edges, page_info=PageInfo.of(page, behind))

    @strawberry.field(
        description=(
            "Samples in pages, the newest first. When few of many samples are in the state asked for, a page can have "
            "fewer than `first` and still have a next one."
        )
    )
    async def samples(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the name in the contract
            SampleFilter | None, strawberry.argument(description="Which samples; all unless said.")
        ] = None,
        first: First = None,
        after: After = None,
    ) -> SampleConnection:
        """Load a page of samples."""
        context = info.context
        context.caller.require(Scope.READ)
        behind = None if after is None else Cursor.decode(after)
        wanted = SampleFilter() if filter is None else filter
        page = await context.store.list_samples(
            context.caller.submitter, wanted.state, wanted.bounds(), page_size(first), behind
        )
        edges = [SampleEdge(cursor=cursor.encode(), node=Sample.of(header)) for cursor, header in page.edges]
        return SampleConnection(edges=edges, page_info=PageInfo.of(page, behind))
