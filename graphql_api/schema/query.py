"""The queries: samples, results, summaries and recomputations."""

from functools import partial
from typing import Annotated

import strawberry

from graphql_api.auth.scopes import Scope
from graphql_api.graphql_server.execution.operation_cost import FieldCost
from graphql_api.results.filters import Order
from graphql_api.results.pagination import PageRequest
from graphql_api.results.summaries import MAX_BUCKETS, MAX_SECONDS, TimeBucket, summarize, summarize_over_time
from graphql_api.schema.arguments import After, Before, First, Last, OptionalResultFilter, RecomputationId, SampleId
from graphql_api.schema.context import Info
from graphql_api.schema.costs import PAGE, SCAN, costs
from graphql_api.schema.required_scopes import requires
from graphql_api.schema.types.connections import ResultConnection, SampleConnection
from graphql_api.schema.types.inputs import ResultOrder, SampleFilter, selection_of
from graphql_api.schema.types.recomputation import RecomputationType
from graphql_api.schema.types.result import Result
from graphql_api.schema.types.sample import Sample
from graphql_api.schema.types.summary import ResultsBucket, ResultsSummary

LATEST_FIRST = Order("timestamp", descending=True)


@strawberry.type(description="All queries return samples and results of the submitter to which the API key belongs.")
class Query:
    """The fields of `query`."""

    @strawberry.field(
        description="Returns a sample, or null if it does not exist.",
        metadata=requires(Scope.READ),
    )
    async def sample(self, info: Info, sample_id: SampleId) -> Sample | None:
        """Return one sample."""
        header = await info.context.headers.load(sample_id)
        return None if header is None else Sample.of(header)

    @strawberry.field(
        description="Returns the result of a sample, or null if the sample is not COMPUTED.",
        metadata=requires(Scope.READ),
    )
    async def result(self, info: Info, sample_id: SampleId) -> Result | None:
        """Return one result."""
        result = await info.context.results.load(sample_id)
        return None if result is None or result.statistics is None else Result.of(result)

    @strawberry.field(
        description="Returns a page of computed results. By default, the latest time stamp comes first.",
        metadata=requires(Scope.READ) | costs(PAGE),
    )
    async def results(
        self,
        info: Info,
        result_filter: OptionalResultFilter = None,
        order_by: Annotated[
            ResultOrder | None,
            strawberry.argument(description="The order of the results. By default, the latest time stamp comes first."),
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> ResultConnection:
        """Return a page of results. Add the results to the loader, so that nested fields do not read them again."""
        context, listing = info.context, info.context.store.result_listing
        request = PageRequest.of(first, after, last, before)
        order = LATEST_FIRST if order_by is None else order_by.order()
        selection = context.caller.submitter, selection_of(result_filter)
        read = partial(listing.page, *selection, order)
        page = await read(request)
        for _, result in page.edges:
            context.results.prime(result.sample_id, result)
        return ResultConnection.of(page, request, read, partial(listing.count, *selection))

    @strawberry.field(
        description=(
            "Returns a page of samples. The latest submission comes first. With a filter by state, a page can have "
            "fewer samples than requested and still have a next page."
        ),
        metadata=requires(Scope.READ) | costs(PAGE),
    )
    async def samples(
        self,
        info: Info,
        sample_filter: Annotated[
            SampleFilter | None,
            strawberry.argument(name="filter", description="Selects samples. By default, all samples are selected."),
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> SampleConnection:
        """Return a page of samples. Add the headers to the loader, so that nested fields do not read them again."""
        context, listing = info.context, info.context.store.sample_listing
        request = PageRequest.of(first, after, last, before)
        state = None if sample_filter is None else sample_filter.state
        selection = context.caller.submitter, state, selection_of(sample_filter)
        read = partial(listing.page, *selection)
        page = await read(request)
        for _, header in page.edges:
            context.headers.prime(header.id, header)
        return SampleConnection.of(page, request, read, partial(listing.count, *selection))

    @strawberry.field(
        description=(
            "Returns combined statistics of the values of all selected results. The server reads every selected "
            f"result, a few thousand per second. If this takes more than {MAX_SECONDS:g} seconds, the server returns "
            "the error OPERATION_TOO_COMPLEX."
        ),
        metadata=requires(Scope.READ) | costs(SCAN),
    )
    async def results_summary(self, info: Info, result_filter: OptionalResultFilter = None) -> ResultsSummary:
        """Return the summary of the results that pass the filter."""
        context = info.context
        merged = await summarize(context.store.result_listing, context.caller.submitter, selection_of(result_filter))
        return ResultsSummary.of(merged)

    @strawberry.field(
        description=(
            "Returns a summary for each time bucket. The time stamp of a sample determines its bucket. The earliest "
            "bucket comes first. Buckets without results are omitted. If there are more than "
            f"{MAX_BUCKETS:,} buckets, the server returns the error OPERATION_TOO_COMPLEX. The cost and the time limit "
            "are the same as for `resultsSummary`."
        ),
        metadata=requires(Scope.READ) | costs(FieldCost(SCAN.units, default_size=MAX_BUCKETS // 10)),
    )
    async def results_over_time(
        self,
        info: Info,
        bucket: Annotated[TimeBucket, strawberry.argument(description="The length of each bucket.")],
        result_filter: OptionalResultFilter = None,
    ) -> list[ResultsBucket]:
        """Return a summary for each time bucket that contains results that pass the filter."""
        context = info.context
        listing, submitter = context.store.result_listing, context.caller.submitter
        buckets = await summarize_over_time(listing, submitter, selection_of(result_filter), bucket)
        return [ResultsBucket.of(merged, start=start) for start, merged in buckets.items()]

    @strawberry.field(
        description="Returns the progress of a recomputation, or null if it does not exist.",
        metadata=requires(Scope.ADMIN),
    )
    async def recomputation(self, info: Info, recomputation_id: RecomputationId) -> RecomputationType | None:
        """Return one recomputation."""
        recomputation = await info.context.recomputer.get(info.context.caller.submitter, recomputation_id)
        return None if recomputation is None else RecomputationType.of(recomputation)
