"""The mutations: samples are submitted, and old results are recomputed."""

from typing import Annotated, Any

import strawberry

from graphql_api.auth.scopes import Scope
from graphql_api.results.recomputer import MAX_IDS
from graphql_api.schema.context import Info
from graphql_api.schema.required_scopes import requires
from graphql_api.schema.types.inputs import ResultFilter, bounds_of
from graphql_api.schema.types.recomputation import RecomputationType
from graphql_api.schema.types.sample import Sample
from graphql_api.schema.types.scalars import RawSample
from storage.documents import BadRequest

MAX_SAMPLES = 1_000


@strawberry.type(description="All mutations act on samples of the submitter to which the API key belongs.")
class Mutation:
    """The fields of `mutation`."""

    @strawberry.mutation(
        description=(
            "Stores a sample and responds after Firestore has committed it. The state is PENDING, or REJECTED if the "
            "sample is invalid; `problems` then lists what is wrong. Invalid samples are stored too. The statistics "
            "are computed afterwards: subscribe to `sample` to receive them."
        ),
        metadata=requires(Scope.SUBMIT),
    )
    async def submit(
        self,
        info: Info,
        sample: Annotated[RawSample, strawberry.argument(description="The sample.")],
        idempotency_key: Annotated[
            str | None,
            strawberry.argument(
                description=(
                    "A text of your choice that identifies this submission, so that a retry is safe. The same key with "
                    "the same sample returns the first receipt and stores nothing. The same key with another sample "
                    "returns the error CONFLICT."
                )
            ),
        ] = None,
    ) -> Sample:
        """Store one sample."""
        submitter = info.context.caller.submitter
        header = await info.context.receiver.receive(sample, submitter=submitter, idempotency_key=idempotency_key)
        return Sample.of(header, is_new=True)

    @strawberry.mutation(
        description=(
            "Stores many samples and responds after Firestore has committed all of them. The response has the order of "
            "`samples`. Each sample has its own state. A sample that could not be stored is null, with an error at its "
            "position."
        ),
        metadata=requires(Scope.SUBMIT),
    )
    async def submit_many(
        self,
        info: Info,
        samples: Annotated[list[RawSample], strawberry.argument(description=f"Up to {MAX_SAMPLES:,} samples.")],
    ) -> list[Sample | None]:
        """Store many samples. One that cannot be stored does not affect the others."""
        if len(samples) > MAX_SAMPLES:
            raise BadRequest(f"expected at most {MAX_SAMPLES:,} samples, got {len(samples):,} - at `samples`")
        outcomes = await info.context.receiver.receive_all(samples, submitter=info.context.caller.submitter)
        # graphql-core turns an exception in a list into an error at the position of this item.
        items: list[Any] = [each if isinstance(each, Exception) else Sample.of(each, is_new=True) for each in outcomes]
        return items

    @strawberry.mutation(
        description=(
            "Starts to recompute results with the current version of the statistics: the results of `ids`, or all old "
            "results that pass `filter`. It responds at once; query `recomputation` for the progress. An old result "
            "can be read until the new one replaces it. Repeating the mutation is safe: it continues an interrupted "
            "recomputation."
        ),
        metadata=requires(Scope.ADMIN),
    )
    async def recompute(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID] | None,
            strawberry.argument(
                description=f"Up to {MAX_IDS:,} ids of samples. They are recomputed even if their results are new."
            ),
        ] = None,
        result_filter: Annotated[
            ResultFilter | None,
            strawberry.argument(
                name="filter",
                description=(
                    "Selects old results. By default, all old results are selected. Cannot be combined with `ids`."
                ),
            ),
        ] = None,
    ) -> RecomputationType:
        """Start a recomputation."""
        submitter, recomputer = info.context.caller.submitter, info.context.recomputer
        if ids is None:
            return RecomputationType.of(await recomputer.recompute_outdated(submitter, bounds_of(result_filter)))
        if result_filter is not None or len(ids) > MAX_IDS:
            raise BadRequest(f"expected up to {MAX_IDS:,} ids and no filter - at `ids`")
        return RecomputationType.of(await recomputer.recompute_ids(submitter, ids))
