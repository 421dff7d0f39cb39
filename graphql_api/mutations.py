"""Samples come in."""

from typing import Annotated, Any

import strawberry

from documents import BadRequest
from graphql_api.auth import Scope
from graphql_api.context import Info
from graphql_api.scalars import RawSample
from graphql_api.types import Sample

MAX_SAMPLES_AT_ONCE = 1_000


@strawberry.type(description="What changes something.")
class Mutation:
    """Submit one sample or many."""

    @strawberry.mutation(
        description=(
            "Store a sample. Answers once Firestore has committed it: PENDING, or REJECTED with its problems, and "
            "kept in either case. The result follows; `subscription { sample(id: …) }` tells when."
        )
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
        context.caller.require(Scope.SUBMIT)
        header = await context.receiver.receive(
            sample, submitter=context.caller.submitter, idempotency_key=idempotency_key
        )
        return Sample.of(header, fresh=True)

    @strawberry.mutation(
        description=(
            "Store many samples, each for itself. Answers in the same order, each with its own state, once all are "
            "committed; one that could not be stored is null, with an error at its place."
        )
    )
    async def submit_many(
        self,
        info: Info,
        samples: Annotated[list[RawSample], strawberry.argument(description="Up to 1,000 samples.")],
    ) -> list[Sample | None]:
        """Receive many samples, each for itself."""
        context = info.context
        context.caller.require(Scope.SUBMIT)
        if len(samples) > MAX_SAMPLES_AT_ONCE:
            raise BadRequest(f"expected at most {MAX_SAMPLES_AT_ONCE:,} samples, got {len(samples):,} - at `samples`")
        received = await context.receiver.receive_all(samples, submitter=context.caller.submitter)
        # An exception in a list is the error of its item alone.
        shown: list[Any] = [each if isinstance(each, Exception) else Sample.of(each, fresh=True) for each in received]
        return shown
