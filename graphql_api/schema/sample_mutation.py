"""The mutations that submit samples, delete samples and recompute results."""

from typing import Annotated, Any

import strawberry

from graphql_api.auth.audit_entry import AuditFacts, facts_of_samples
from graphql_api.graphql_server.execution.operation_cost import FieldCost
from graphql_api.results.deletion.deleter import MAX_IDS as MAX_DELETED_IDS
from graphql_api.results.recomputation.recomputer import MAX_IDS
from graphql_api.schema.context import Info
from graphql_api.schema.costs import JOB_START, costs
from graphql_api.schema.required_scopes import requires
from graphql_api.schema.types.deletion import DeletionType
from graphql_api.schema.types.inputs import ResultFilter, SampleFilter, filter_text, selection_of
from graphql_api.schema.types.recomputation import RecomputationType
from graphql_api.schema.types.sample import Sample
from graphql_api.schema.types.scalars import RawSample
from graphql_api.scopes import Scope
from storage.documents import BadRequest
from storage.firestore.messages import Write

MAX_SAMPLES = 1_000
_SAMPLES = FieldCost(units_per_item=0.1, default_size=MAX_SAMPLES)
"""The samples of `submitMany`. A sample costs less than with `submit`, because the samples share calls to Firestore."""


@strawberry.type
class SampleMutation:
    """The fields of `mutation` that store, delete or recompute samples."""

    @strawberry.mutation(
        description=(
            "Stores a sample and responds after Firestore has committed it. A valid sample has the state PENDING. An "
            "invalid sample is stored too. It has the state REJECTED, and `problems` lists what is wrong. The "
            "statistics are computed after the response. To receive them, subscribe to `sample`."
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
                    "A string of your choice that identifies this submission. With a key, it is safe to retry. If you "
                    "send the same key and the same sample again, the mutation returns the stored sample and stores "
                    "nothing. If you send the same key with another sample, the mutation returns the error CONFLICT."
                )
            ),
        ] = None,
        supersedes: Annotated[
            strawberry.ID | None,
            strawberry.argument(
                description=(
                    "The id of a sample that this sample corrects. If both samples are accepted, the earlier sample "
                    "becomes SUPERSEDED. Lists and summaries then omit the earlier result, but the query `result` "
                    "still returns it. If the earlier sample does not exist or has expired, the mutation returns the "
                    "error NOT_FOUND. If only its result is still stored, delete the result with `deleteSamples` "
                    "instead. If another sample has already corrected the earlier sample, the mutation returns the "
                    "error CONFLICT, whose message has the id of the other sample."
                )
            ),
        ] = None,
    ) -> Sample:
        """Store one sample."""
        header = await info.context.receiver.receive(
            sample, sender=info.context.caller, idempotency_key=idempotency_key, supersedes=supersedes
        )
        return Sample.of(header)

    @strawberry.mutation(
        description=(
            "Stores many samples and responds after Firestore has committed all samples. The response lists the "
            "samples in the same order as the argument `samples`. If a sample could not be stored, its item in the "
            "list is null, and `errors` has an entry with the path of this item."
        ),
        metadata=requires(Scope.SUBMIT) | costs(_SAMPLES),
    )
    async def submit_many(
        self,
        info: Info,
        samples: Annotated[list[RawSample], strawberry.argument(description=f"Up to {MAX_SAMPLES:,} samples.")],
    ) -> list[Sample | None]:
        """Store many samples. An invalid sample does not affect the other samples."""
        if len(samples) > MAX_SAMPLES:
            raise BadRequest(f"expected at most {MAX_SAMPLES:,} samples, got {len(samples):,} - at `samples`")
        outcomes = await info.context.receiver.receive_all(samples, sender=info.context.caller)
        # If an item of a list is an exception, graphql-core returns null for the item and adds an error with its path.
        items: list[Any] = [each if isinstance(each, Exception) else Sample.of(each) for each in outcomes]
        return items

    @strawberry.mutation(
        description=(
            "Starts to delete samples with their submitted JSON, labels and results. Pass `ids` or `filter`. The "
            "mutation returns before the samples are deleted. To get the progress, query `deletion`. To continue an "
            "interrupted deletion, repeat the mutation. If a sample has expired but its result is still stored, the "
            "result is deleted. Ids of samples that do not exist are skipped. To see when and why a sample was "
            "deleted, query `deletedSample`. If you submit a deleted sample again with the same idempotency key, it "
            "is stored again."
        ),
        metadata=requires(Scope.ADMIN) | costs(JOB_START),
    )
    async def delete_samples(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID] | None,
            strawberry.argument(description=f"The ids of up to {MAX_DELETED_IDS:,} samples."),
        ] = None,
        sample_filter: Annotated[
            SampleFilter | None,
            strawberry.argument(
                name="filter",
                description=(
                    "Selects the samples to delete. At least one field must be set. The filter also selects results "
                    "whose samples have expired. For these results, it compares their labels, their state, and the "
                    "time when the sample was stored. Cannot be combined with `ids`."
                ),
            ),
        ] = None,
        reason: Annotated[
            str, strawberry.argument(description="The reason for the deletion, in up to 200 characters.")
        ] = "",
    ) -> DeletionType:
        """Start a deletion."""
        context = info.context
        submitter, deleter = context.caller.submitter, context.deleter
        if (ids is None) == (sample_filter is None):
            raise BadRequest(f"expected either `ids` or `filter`, got {'neither' if ids is None else 'both'}")
        if ids is not None:
            if len(ids) > MAX_DELETED_IDS:
                raise BadRequest(f"expected at most {MAX_DELETED_IDS:,} ids, got {len(ids):,} - at `ids`")

            def make_entry_of_ids(deletion: str) -> Write:
                return context.entry("samples.deleted", facts_of_samples(ids, deletion=deletion, reason=reason))

            return DeletionType.of(await deleter.delete_ids(submitter, ids, reason, make_entry_of_ids))
        assert sample_filter is not None
        selection = selection_of(sample_filter)
        if selection.is_everything and sample_filter.state is None:
            raise BadRequest("expected a filter that sets at least one field - at `filter`")
        text, state = filter_text(selection, sample_filter.state), sample_filter.state

        def make_entry(deletion: str) -> Write:
            return context.entry("samples.deleted", AuditFacts(deletion=deletion, filter=text, reason=reason or None))

        return DeletionType.of(await deleter.delete_selected(submitter, state, selection, reason, make_entry))

    @strawberry.mutation(
        description=(
            "Starts to recompute results with the current version of the statistics. With `ids`, it recomputes the "
            "results of these samples. With `filter`, it recomputes the selected results that have an outdated "
            "`statisticsVersion`. Without `ids` and `filter`, it recomputes all outdated results, and all samples "
            "that have been PENDING for at least 30 seconds. The mutation returns before the results are recomputed. "
            "To get the progress, query `recomputation`. Clients can read the previous result until the new result "
            "replaces it. To continue an interrupted recomputation, repeat the mutation."
        ),
        metadata=requires(Scope.ADMIN) | costs(JOB_START),
    )
    async def recompute(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID] | None,
            strawberry.argument(
                description=(
                    f"The ids of up to {MAX_IDS:,} samples. The results of these samples are recomputed even if their "
                    "`statisticsVersion` is current."
                )
            ),
        ] = None,
        result_filter: Annotated[
            ResultFilter | None,
            strawberry.argument(
                name="filter",
                description=(
                    "Selects results. Only results with an outdated `statisticsVersion` are recomputed. Cannot be "
                    "combined with `ids`."
                ),
            ),
        ] = None,
    ) -> RecomputationType:
        """Start a recomputation."""
        context = info.context
        submitter, recomputer = context.caller.submitter, context.recomputer
        if ids is None:
            selection = selection_of(result_filter)
            text = None if selection.is_everything else filter_text(selection)

            def make_entry(recomputation: str) -> Write:
                return context.entry("results.recomputed", AuditFacts(recomputation=recomputation, filter=text))

            return RecomputationType.of(await recomputer.recompute_outdated(submitter, selection, make_entry))
        if result_filter is not None:
            raise BadRequest("expected `ids` or `filter`, got both - at `filter`")
        if len(ids) > MAX_IDS:
            raise BadRequest(f"expected at most {MAX_IDS:,} ids, got {len(ids):,} - at `ids`")

        def make_entry_of_ids(recomputation: str) -> Write:
            return context.entry("results.recomputed", facts_of_samples(ids, recomputation=recomputation))

        return RecomputationType.of(await recomputer.recompute_ids(submitter, ids, make_entry_of_ids))
