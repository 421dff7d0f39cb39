"""Samples and results are looked up."""

from functools import partial
from typing import Annotated

import strawberry

from graphql_api.auth.scopes import Scope
from graphql_api.results.filters import Order
from graphql_api.results.pagination import PageRequest
from graphql_api.results.summaries import (
    MAX_BUCKETS,
    TimeBucket,
    summarize,
    summarize_over_time,
)
from graphql_api.schema.context import Info
from graphql_api.schema.required_scopes import requires
from graphql_api.schema.types.connections import ResultConnection, SampleConnection
from graphql_api.schema.types.inputs import ResultFilter, ResultOrder, SampleFilter
from graphql_api.schema.types.recomputation import RecomputationType
from graphql_api.schema.types.result import Result
from graphql_api.schema.types.sample import Sample
from graphql_api.schema.types.summary import ResultsBucket, ResultsSummary

Id = Annotated[strawberry.ID, strawberry.argument(description="The id that the receipt gave.")]
RecomputationId = Annotated[strawberry.ID, strawberry.argument(description="The id that `recompute` gave.")]
First = Annotated[int | None, strawberry.argument(description="So many from the beginning: 50 unless said, up to 500.")]
After = Annotated[str | None, strawberry.argument(description="Only what is behind this cursor of an earlier answer.")]
Last = Annotated[
    int | None,
    strawberry.argument(description="So many from the end instead, in the same order; not together with `first`."),
]
Before = Annotated[
    str | None, strawberry.argument(description="Only what is ahead of this cursor of an earlier answer.")
]
Which = Annotated[ResultFilter | None, strawberry.argument(description="Which results; all unless said.")]
LATEST_FIRST = Order("timestamp", descending=True)


@strawberry.type(description="What can be asked. A key sees its own submitter's samples and results.")
class Query:
    """Single documents and pages of them."""

    @strawberry.field(
        description="The sample with this id, or null.",
        metadata=requires(Scope.READ),
    )
    async def sample(self, info: Info, id: Id) -> Sample | None:  # noqa: A002 - the name in the contract
        """Load one sample."""
        header = await info.context.headers.load(id)
        return None if header is None else Sample.of(header)

    @strawberry.field(
        description="The result of the sample with this id, or null where there is none (yet).",
        metadata=requires(Scope.READ),
    )
    async def result(self, info: Info, id: Id) -> Result | None:  # noqa: A002 - the name in the contract
        """Load one result."""
        result = await info.context.results.load(id)
        return None if result is None or result.statistics is None else Result.of(result)

    @strawberry.field(
        description="Computed results in pages, the latest time stamp first unless said otherwise.",
        metadata=requires(Scope.READ),
    )
    async def results(
        self,
        info: Info,
        filter: Which = None,  # noqa: A002 - the name in the contract
        order_by: Annotated[ResultOrder | None, strawberry.argument(description="In which order.")] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> ResultConnection:
        """Load a page of results."""
        caller, listing = info.context.caller, info.context.store.result_listing
        order = LATEST_FIRST if order_by is None else order_by.order()
        wanted = caller.submitter, [] if filter is None else filter.bounds()
        request, read = PageRequest.of(first, after, last, before), partial(listing.page, *wanted, order)
        page = await read(request)
        for _, result in page.edges:
            info.context.results.prime(result.sample_id, result)
        return ResultConnection.of(page, request, read, partial(listing.count, *wanted))

    @strawberry.field(
        description=(
            "Samples in pages, the newest first. When few of many samples are in the state asked for, a page can have "
            "fewer than were asked for and still have a next one."
        ),
        metadata=requires(Scope.READ),
    )
    async def samples(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the name in the contract
            SampleFilter | None, strawberry.argument(description="Which samples; all unless said.")
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> SampleConnection:
        """Load a page of samples."""
        caller, listing = info.context.caller, info.context.store.sample_listing
        state, bounds = (None, []) if filter is None else (filter.state, filter.bounds())
        wanted = caller.submitter, state, bounds
        request, read = PageRequest.of(first, after, last, before), partial(listing.page, *wanted)
        page = await read(request)
        for _, header in page.edges:
            info.context.headers.prime(header.id, header)
        return SampleConnection.of(page, request, read, partial(listing.count, *wanted))

    @strawberry.field(
        description=(
            "The statistics of all values of many results together. Every result that passes the filter is read, "
            "though not its sample: some thousand in a second, and after 25 seconds it ends with an error."
        ),
        metadata=requires(Scope.READ),
    )
    async def results_summary(
        self,
        info: Info,
        filter: Which = None,  # noqa: A002 - the name in the contract
    ) -> ResultsSummary:
        """Merge the results that pass the filter."""
        context = info.context
        bounds = [] if filter is None else filter.bounds()
        return ResultsSummary.of(await summarize(context.store.result_listing, context.caller.submitter, bounds))

    @strawberry.field(
        description=(
            "The same for each piece of time, by the time stamps of the samples, the earliest first. Pieces without "
            f"results are left out; there are up to {MAX_BUCKETS:,}. It costs what `resultsSummary` does."
        ),
        metadata=requires(Scope.READ),
    )
    async def results_over_time(
        self,
        info: Info,
        bucket: Annotated[TimeBucket, strawberry.argument(description="How long the pieces are.")],
        filter: Which = None,  # noqa: A002 - the name in the contract
    ) -> list[ResultsBucket]:
        """Merge the results that pass the filter, piece by piece."""
        context = info.context
        bounds = [] if filter is None else filter.bounds()
        buckets = await summarize_over_time(context.store.result_listing, context.caller.submitter, bounds, bucket)
        return [ResultsBucket.of(merged, start=start) for start, merged in buckets.items()]

    @strawberry.field(
        description="How far a recomputation is, or null. Takes a key with the scope `admin`.",
        metadata=requires(Scope.ADMIN),
    )
    async def recomputation(
        self,
        info: Info,
        id: RecomputationId,  # noqa: A002 - the name in the contract
    ) -> RecomputationType | None:
        """Load what is known of it."""
        recomputation = await info.context.recomputer.get(info.context.caller.submitter, id)
        return None if recomputation is None else RecomputationType.of(recomputation)
