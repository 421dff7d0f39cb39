"""Samples come in."""

from typing import Annotated, Any

import strawberry

from graphql_api.auth.scopes import Scope
from graphql_api.results.recomputer import MAX_IDS
from graphql_api.schema.context import Info
from graphql_api.schema.required_scopes import requires
from graphql_api.schema.types.inputs import ResultFilter
from graphql_api.schema.types.recomputation import RecomputationType
from graphql_api.schema.types.sample import Sample
from graphql_api.schema.types.scalars import RawSample
from storage.documents import BadRequest

MAX_SAMPLES_AT_ONCE = 1_000


@strawberry.type(description="What changes something.")
class Mutation:
    """Submit one sample or many."""

    @strawberry.mutation(
        description=(
            "Store a sample. Answers once Firestore has committed it: PENDING, or REJECTED with its problems, and "
            "kept in either case. The result follows; `subscription { sample(id: …) }` tells when."
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
                    "Any text of your own for this sample. Sending the same key and sample again gives the same "
                    "receipt and stores nothing; the same key with another sample is a CONFLICT."
                )
            ),
        ] = None,
    ) -> Sample:
        """Receive one sample."""
        context = info.context
        header = await context.receiver.receive(
            sample, submitter=context.caller.submitter, idempotency_key=idempotency_key
        )
        return Sample.of(header, fresh=True)

    @strawberry.mutation(
        description=(
            "Store many samples, each for itself. Answers in the same order, each with its own state, once all are "
            "committed; one that could not be stored is null, with an error at its place."
        ),
        metadata=requires(Scope.SUBMIT),
    )
    async def submit_many(
        self,
        info: Info,
        samples: Annotated[list[RawSample], strawberry.argument(description="Up to 1,000 samples.")],
    ) -> list[Sample | None]:
        """Receive many samples, each for itself."""
        context = info.context
        if len(samples) > MAX_SAMPLES_AT_ONCE:
            raise BadRequest(f"expected at most {MAX_SAMPLES_AT_ONCE:,} samples, got {len(samples):,} - at `samples`")
        received = await context.receiver.receive_all(samples, submitter=context.caller.submitter)
        # An exception in a list is the error of its item alone.
        shown: list[Any] = [each if isinstance(each, Exception) else Sample.of(each, fresh=True) for each in received]
        return shown

    @strawberry.mutation(
        description=(
            "Bring results up to the current version of the statistics: those of `ids`, or the old ones that pass "
            "`filter`, or all old ones. Their samples go to the function again; each old result can be read until its "
            "new one is there. Answers at once, and the work goes on: ask `recomputation` how far it is. To ask again "
            "is harmless, and goes on where another ended early. Takes a key with the scope `admin`."
        ),
        metadata=requires(Scope.ADMIN),
    )
    async def recompute(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID] | None,
            strawberry.argument(description="Up to 1,000 samples, whatever results they have, or none yet."),
        ] = None,
        filter: Annotated[  # noqa: A002 - the name in the contract
            ResultFilter | None, strawberry.argument(description="Which of the old results; not together with `ids`.")
        ] = None,
    ) -> RecomputationType:
        """Begin to recompute."""
        submitter, recomputer = info.context.caller.submitter, info.context.recomputer
        if ids is None:
            bounds = [] if filter is None else filter.bounds()
            return RecomputationType.of(await recomputer.recompute_outdated(submitter, bounds))
        if filter is not None or len(ids) > MAX_IDS:
            raise BadRequest(f"expected up to {MAX_IDS:,} ids and no filter - at `ids`")
        return RecomputationType.of(await recomputer.recompute_ids(submitter, ids))
