"""The queries of samples, results, summaries and labels."""

from datetime import datetime
from functools import partial
from typing import Annotated

import strawberry

from graphql_api.results.filters import Order
from graphql_api.results.pagination import PageRequest
from graphql_api.results.rolled_up_results import Group
from graphql_api.results.series_listing import MAX_GROUPS
from graphql_api.results.summaries import MAX_BUCKETS, MAX_SECONDS, Summary, TimeBucket, summarize, summarize_over_time
from graphql_api.schema.arguments import (
    After,
    Before,
    First,
    Last,
    OptionalGroupBy,
    OptionalResultFilter,
    SampleId,
    names_of,
)
from graphql_api.schema.context import Info
from graphql_api.schema.costs import (
    COUNT,
    PAGE_OF_RESULTS,
    PAGE_OF_SAMPLES,
    READ,
    SCAN_OF_BUCKETS,
    SCAN_OF_GROUPS,
    SINGLE_READ,
    costs,
)
from graphql_api.schema.required_scopes import requires
from graphql_api.schema.types.connections import ResultConnection, SampleConnection
from graphql_api.schema.types.deletion import DeletedSample
from graphql_api.schema.types.inputs import ResultOrder, SampleFilter, selection_of
from graphql_api.schema.types.label import LabelName
from graphql_api.schema.types.result import Result
from graphql_api.schema.types.sample import Sample
from graphql_api.schema.types.summary import ResultsBucket, ResultsGroup, ResultsSummary, group_labels
from graphql_api.scopes import Scope
from storage.documents import BadRequest, labels
from storage.rollups.series import MAX_SERIES

LATEST_FIRST = Order("timestamp", descending=True)


@strawberry.type
class SampleQuery:
    """The fields of `query` that read samples and results."""

    @strawberry.field(
        description="Returns a sample, or null if the sample does not exist.",
        metadata=requires(Scope.READ) | costs(READ),
    )
    async def sample(self, info: Info, sample_id: SampleId) -> Sample | None:
        """Return one sample."""
        header = await info.context.headers.load(sample_id)
        return None if header is None else Sample.of(header)

    @strawberry.field(
        description="Returns the result of a sample that is COMPUTED or SUPERSEDED. Returns null for other samples.",
        metadata=requires(Scope.READ) | costs(READ),
    )
    async def result(self, info: Info, sample_id: SampleId) -> Result | None:
        """Return one result."""
        result = await info.context.results.load(sample_id)
        return None if result is None or result.statistics is None else Result.of(result)

    @strawberry.field(
        description="Returns a page of computed results. By default, the latest time stamp comes first.",
        metadata=requires(Scope.READ) | costs(PAGE_OF_RESULTS),
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
        return ResultConnection.of(page, request, read, partial(listing.count, *selection, order))

    @strawberry.field(
        description=(
            "Returns a page of samples. The latest submission comes first. With a filter by state, a page can have "
            "fewer samples than requested, even if a next page exists."
        ),
        metadata=requires(Scope.READ) | costs(PAGE_OF_SAMPLES),
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
            "Returns combined statistics of the values of all selected results. The query is fast if `filter` has "
            "only `timestamp` and `labels`, or is not set. The server then reads stored statistics of hours and days, "
            "and single results only for parts of hours. If `filter` has other fields, the server reads every selected "
            "result, a few thousand per second. The server also reads every selected result if the query filters or "
            f"groups by labels and the samples have more than {MAX_SERIES:,} combinations of labels. If there are "
            f"more than {MAX_GROUPS:,} groups, or if the query takes more than {MAX_SECONDS:g} seconds, the server "
            "returns the error OPERATION_TOO_COMPLEX."
        ),
        metadata=requires(Scope.READ) | costs(SCAN_OF_GROUPS),
    )
    async def results_summary(
        self, info: Info, result_filter: OptionalResultFilter = None, group_by: OptionalGroupBy = None
    ) -> ResultsSummary:
        """Return the summary of the results that pass the filter."""
        context, names = info.context, names_of(group_by)
        store, submitter = context.store, context.caller.submitter
        merged, groups = await summarize(store, submitter, selection_of(result_filter), names)

        def to_graphql(item: tuple[Group, Summary]) -> ResultsGroup:
            group, each = item
            return ResultsGroup.of(each, labels=group_labels(names, group))

        turn = store.result_listing.turns.of(submitter)
        return ResultsSummary.of(merged, groups=await turn.map(to_graphql, groups.items()))

    @strawberry.field(
        description=(
            "Returns combined statistics for each time bucket. The time stamp of a result determines its bucket. The "
            "earliest bucket comes first. With `groupBy`, the groups of a bucket are in alphabetical order of their "
            f"labels. Buckets without results are omitted. If all groups together have more than {MAX_BUCKETS:,} "
            "buckets, the server returns the error OPERATION_TOO_COMPLEX. The cost and the time limit are the same as "
            "for `resultsSummary`. For buckets shorter than an hour, the server reads every selected result, and does "
            "not use the hourly archive."
        ),
        metadata=requires(Scope.READ) | costs(SCAN_OF_BUCKETS),
    )
    async def results_over_time(
        self,
        info: Info,
        bucket: Annotated[TimeBucket, strawberry.argument(description="The length of each bucket.")],
        result_filter: OptionalResultFilter = None,
        group_by: OptionalGroupBy = None,
    ) -> list[ResultsBucket]:
        """Return a summary for each time bucket with results that pass the filter."""
        context, names = info.context, names_of(group_by)
        selection = selection_of(result_filter)
        store, submitter = context.store, context.caller.submitter
        buckets = await summarize_over_time(store, submitter, selection, bucket, names)

        def to_graphql(item: tuple[tuple[datetime, Group], Summary]) -> ResultsBucket:
            (start, group), merged = item
            return ResultsBucket.of(merged, start=start, labels=group_labels(names, group))

        return await store.result_listing.turns.of(submitter).map(to_graphql, buckets.items())

    @strawberry.field(
        description=(
            "Groups results by labels, and returns the result with the latest time stamp of each group. The groups "
            "are in alphabetical order of their labels. A new group appears as soon as its first result is computed. "
            f"If there are more than {MAX_GROUPS:,} groups, the server returns the error OPERATION_TOO_COMPLEX."
        ),
        metadata=requires(Scope.READ) | costs(SCAN_OF_GROUPS),
    )
    async def latest_results(
        self,
        info: Info,
        group_by: Annotated[
            list[str],
            strawberry.argument(
                description="The names of 1 to 4 labels. Results that do not have all of these labels are left out."
            ),
        ],
        result_filter: OptionalResultFilter = None,
    ) -> list[Result]:
        """Return the newest result of each group. Add the results to the loader."""
        context = info.context
        series, submitter = context.store.series_listing, context.caller.submitter
        results = await series.latest(submitter, group_by, selection_of(result_filter))
        for result in results:
            context.results.prime(result.sample_id, result)
        return [Result.of(result) for result in results]

    @strawberry.field(
        description=(
            "Returns the names of all labels in alphabetical order, including labels that only deleted results have."
        ),
        metadata=requires(Scope.READ) | costs(COUNT),
    )
    async def label_names(self, info: Info) -> list[str]:
        """Return the names of labels."""
        context = info.context
        series = await context.store.series_listing.read(context.caller.submitter, {})
        return sorted({name for each in series for name in each})

    @strawberry.field(
        description=(
            "Returns all values of a label in alphabetical order, including values that only deleted results have."
        ),
        metadata=requires(Scope.READ) | costs(COUNT),
    )
    async def label_values(self, info: Info, name: LabelName) -> list[str]:
        """Return the values of a label. Raises `BadRequest` if no label can have the name."""
        if not labels.is_name(name):
            raise BadRequest(f"{labels.invalid_name(name).message} - at `name`")
        context = info.context
        series = await context.store.series_listing.read(context.caller.submitter, {})
        return sorted({each[name] for each in series if name in each})

    @strawberry.field(
        description="Returns the record of a deleted sample, or null if the sample was not deleted.",
        metadata=requires(Scope.READ) | costs(SINGLE_READ),
    )
    async def deleted_sample(self, info: Info, sample_id: SampleId) -> DeletedSample | None:
        """Return one tombstone."""
        tombstone = await info.context.deleter.tombstone(info.context.caller.submitter, sample_id)
        return None if tombstone is None else DeletedSample.of(tombstone)
