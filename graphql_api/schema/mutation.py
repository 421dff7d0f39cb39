"""The mutations: submit and delete samples, recompute results, and change settings and keys."""

from datetime import timedelta
from typing import Annotated, Any

import strawberry

from graphql_api.auth.scopes import Scope
from graphql_api.graphql_server.execution.operation_cost import FieldCost
from graphql_api.ingest.submitter_settings import CACHE_SECONDS
from graphql_api.results.deletion.deleter import MAX_IDS as MAX_DELETED_IDS
from graphql_api.results.recomputation.recomputer import MAX_IDS
from graphql_api.schema.context import Info
from graphql_api.schema.costs import costs
from graphql_api.schema.required_scopes import requires
from graphql_api.schema.types.api_key import ApiKeyType, CreatedApiKey
from graphql_api.schema.types.deletion import DAYS, DeletionType, RetentionType
from graphql_api.schema.types.inputs import ResultFilter, SampleFilter, selection_of
from graphql_api.schema.types.recomputation import RecomputationType
from graphql_api.schema.types.sample import Sample
from graphql_api.schema.types.scalars import RawSample
from storage.documents import BadRequest, Retention

MAX_SAMPLES = 1_000
MAX_LABEL_CHARACTERS = 100
MAX_DAYS = 36_500
MAX_OVERLAP_DAYS = 365

Digest = Annotated[
    str, strawberry.argument(description="The SHA-256 of the key in hexadecimal, or at least its first 8 digits.")
]


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
                    "A text of your choice that identifies this submission, so that a retry is safe. If you send the "
                    "same key and the same sample again, the mutation returns the stored sample and stores nothing. If "
                    "you send the same key with another sample, the mutation returns the error CONFLICT."
                )
            ),
        ] = None,
        supersedes: Annotated[
            strawberry.ID | None,
            strawberry.argument(
                description=(
                    "The id of a sample that this sample corrects. If this sample is accepted, the result of the "
                    "earlier sample becomes SUPERSEDED: lists and summaries leave it out, and `result` still returns "
                    "it."
                )
            ),
        ] = None,
    ) -> Sample:
        """Store one sample."""
        header = await info.context.receiver.receive(
            sample, sender=info.context.caller, idempotency_key=idempotency_key, supersedes=supersedes
        )
        return Sample.of(header, is_new=True)

    @strawberry.mutation(
        description=(
            "Stores many samples and responds after Firestore has committed all samples. The response lists the "
            "samples in the order of `samples`, with the state of each sample. If a sample could not be stored, its "
            "item is null, and `errors` has an entry with the path of this item."
        ),
        metadata=requires(Scope.SUBMIT) | costs(FieldCost(units_per_item=0.1, default_size=MAX_SAMPLES)),
    )
    async def submit_many(
        self,
        info: Info,
        samples: Annotated[list[RawSample], strawberry.argument(description=f"Up to {MAX_SAMPLES:,} samples.")],
    ) -> list[Sample | None]:
        """Store many samples. A sample that cannot be stored does not affect the other samples."""
        if len(samples) > MAX_SAMPLES:
            raise BadRequest(f"expected at most {MAX_SAMPLES:,} samples, got {len(samples):,} - at `samples`")
        outcomes = await info.context.receiver.receive_all(samples, sender=info.context.caller)
        # If an item of a list is an exception, graphql-core returns null for the item and adds an error with its path.
        items: list[Any] = [each if isinstance(each, Exception) else Sample.of(each, is_new=True) for each in outcomes]
        return items

    @strawberry.mutation(
        description=(
            "Starts to delete samples: their raw documents, labels and results. Pass `ids` or `filter`. What remains "
            "of each sample is its id, its SHA-256, the time and the reason; query `deletedSample` for these. The "
            "mutation responds at once; query `deletion` for the progress. Ids of samples that do not exist are "
            "skipped. To continue an interrupted deletion, repeat the mutation."
        ),
        metadata=requires(Scope.ADMIN) | costs(FieldCost(20)),
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
                description="Selects the samples to delete. Must set a field. Cannot be combined with `ids`.",
            ),
        ] = None,
        reason: Annotated[
            str, strawberry.argument(description="Why the samples are deleted, in up to 200 characters.")
        ] = "",
    ) -> DeletionType:
        """Start a deletion."""
        submitter, deleter = info.context.caller.submitter, info.context.deleter
        if (ids is None) == (sample_filter is None):
            raise BadRequest("expected either `ids` or `filter`")
        if ids is not None:
            if len(ids) > MAX_DELETED_IDS:
                raise BadRequest(f"expected at most {MAX_DELETED_IDS:,} ids, got {len(ids):,} - at `ids`")
            started = await deleter.delete_ids(submitter, ids, reason)
            await info.context.record("samples.deleted", f"deletion {started.id} of {len(ids)} ids")
            return DeletionType.of(started)
        assert sample_filter is not None
        selection = selection_of(sample_filter)
        if selection.is_everything and sample_filter.state is None:
            raise BadRequest("expected a filter that sets at least one field - at `filter`")
        started = await deleter.delete_selected(submitter, sample_filter.state, selection, reason)
        await info.context.record("samples.deleted", f"deletion {started.id} of the samples that pass a filter")
        return DeletionType.of(started)

    @strawberry.mutation(
        description=(
            "Starts to recompute results with the current version of the statistics. If `ids` is set, it recomputes "
            "the results of these samples. Otherwise, it recomputes the results with an outdated `statisticsVersion` "
            "that pass `filter`. Without a filter, it also recomputes samples that have been PENDING for 30 seconds. "
            "The mutation responds at once; query `recomputation` for the progress. Clients can "
            "read the previous result until the new result replaces it. To continue an interrupted recomputation, "
            "repeat the mutation."
        ),
        metadata=requires(Scope.ADMIN) | costs(FieldCost(20)),
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
                    "Selects among the results with an outdated `statisticsVersion`. By default, all of these results "
                    "are selected. Cannot be combined with `ids`."
                ),
            ),
        ] = None,
    ) -> RecomputationType:
        """Start a recomputation."""
        submitter, recomputer = info.context.caller.submitter, info.context.recomputer
        if ids is None:
            started = await recomputer.recompute_outdated(submitter, selection_of(result_filter))
            await info.context.record("results.recomputed", f"recomputation {started.id} of outdated results")
            return RecomputationType.of(started)
        if result_filter is not None or len(ids) > MAX_IDS:
            raise BadRequest(f"expected at most {MAX_IDS:,} ids, and no `filter` together with `ids` - at `ids`")
        started = await recomputer.recompute_ids(submitter, ids)
        await info.context.record("results.recomputed", f"recomputation {started.id} of {len(ids)} ids")
        return RecomputationType.of(started)

    @strawberry.mutation(
        description=(
            "Changes for how many days samples and results are kept. The change applies to samples that are submitted "
            f"afterwards, after up to {CACHE_SECONDS:g} seconds. Stored samples and results keep the time at which "
            "they expire. Results must be kept at least as long as samples."
        ),
        metadata=requires(Scope.ADMIN) | costs(FieldCost(5)),
    )
    async def set_retention(
        self,
        info: Info,
        sample_days: Annotated[int | None, strawberry.argument(description=f"For samples. {DAYS}")] = None,
        result_days: Annotated[int | None, strawberry.argument(description=f"For results. {DAYS}")] = None,
        use_default: Annotated[
            bool, strawberry.argument(description="Whether to use the default. Cannot be combined with days.")
        ] = False,
    ) -> RetentionType:
        """Change the retention of the submitter."""
        submitter, settings = info.context.caller.submitter, info.context.submitter_settings
        given = Retention(sample_days, result_days)
        if use_default and given != Retention():
            raise BadRequest("expected no days together with `useDefault`")
        await settings.set_retention(submitter, None if use_default else given)
        retention, is_default = await settings.retention(submitter)
        await info.context.record("retention.changed", f"{retention}{', the default' if is_default else ''}")
        return RetentionType.of(retention, is_default=is_default)

    @strawberry.mutation(
        description=(
            "Changes whether nulls in `data` are left out of all samples that are submitted afterwards, after up to "
            f'{CACHE_SECONDS:g} seconds, as with `missing: "skip"`. Otherwise, a null is a problem of a sample without '
            "this member. Returns the setting."
        ),
        metadata=requires(Scope.ADMIN) | costs(FieldCost(5)),
    )
    async def skip_missing_values(
        self,
        info: Info,
        is_on: Annotated[bool, strawberry.argument(name="on", description="Whether nulls are left out.")],
    ) -> bool:
        """Change a setting of the submitter."""
        submitter, settings = info.context.caller.submitter, info.context.submitter_settings
        await settings.set_skips_missing(submitter, skips_missing=is_on)
        await info.context.record("missing_values.changed", "skipped" if is_on else "a problem")
        return is_on

    @strawberry.mutation(
        description=(
            "Creates an API key for the submitter. The response contains the key, which cannot be read again. The key "
            "can have only scopes that the key or token of the request has. It has the limits of the key of the "
            "request, and shares with it what both may send."
        ),
        metadata=requires(Scope.ADMIN) | costs(FieldCost(5)),
    )
    async def create_api_key(
        self,
        info: Info,
        scopes: Annotated[list[Scope], strawberry.argument(description="What the key allows.")],
        label: Annotated[
            str, strawberry.argument(description="A text of up to 100 characters by which you recognize the key.")
        ] = "",
        expires_in_days: Annotated[
            int | None, strawberry.argument(description="The lifetime of the key. By default, it is unlimited.")
        ] = None,
    ) -> CreatedApiKey:
        """Create a key with at most the rights of the caller."""
        caller = info.context.caller
        if not scopes or not set(scopes) <= caller.scopes:
            raise BadRequest(f"expected scopes out of {', '.join(sorted(caller.scopes))} - at `scopes`")
        if len(label) > MAX_LABEL_CHARACTERS or not label.isprintable():
            raise BadRequest(f"expected up to {MAX_LABEL_CHARACTERS} printable characters - at `label`")
        if expires_in_days is not None and not 1 <= expires_in_days <= MAX_DAYS:
            raise BadRequest(f"expected a number of days from 1 to {MAX_DAYS:,} - at `expiresInDays`")
        lifetime = None if expires_in_days is None else timedelta(days=expires_in_days)
        created = await info.context.keys.create(
            caller.submitter, frozenset(scopes), label, lifetime, limits=caller.limits, actor=caller.credential
        )
        return CreatedApiKey.of(created)

    @strawberry.mutation(
        description=(
            "Creates an API key like another one of the submitter, which expires after the overlap. The response "
            "contains the new key, which cannot be read again."
        ),
        metadata=requires(Scope.ADMIN) | costs(FieldCost(20)),
    )
    async def rotate_api_key(
        self,
        info: Info,
        digest: Digest,
        overlap_days: Annotated[
            int, strawberry.argument(description="For how many days both keys work, from 0 to 365.")
        ] = 7,
    ) -> CreatedApiKey:
        """Rotate a key of the submitter."""
        caller = info.context.caller
        if not 0 <= overlap_days <= MAX_OVERLAP_DAYS:
            raise BadRequest(f"expected a number of days from 0 to {MAX_OVERLAP_DAYS} - at `overlapDays`")
        selected = await info.context.keys.select_one(digest, caller.submitter)
        if not selected[1].scopes <= caller.scopes:
            raise BadRequest("the key has scopes that the key or token of the request does not have - at `digest`")
        if caller.limits not in (None, selected[1].limits):
            raise BadRequest("the key does not have the limits of the key of the request - at `digest`")
        overlap = timedelta(days=overlap_days)
        return CreatedApiKey.of(await info.context.keys.rotate(selected, overlap, actor=caller.credential))

    @strawberry.mutation(
        description="Revokes an API key of the submitter. Requests with the key fail within a few seconds.",
        metadata=requires(Scope.ADMIN) | costs(FieldCost(20)),
    )
    async def revoke_api_key(self, info: Info, digest: Digest) -> ApiKeyType:
        """Revoke a key of the submitter."""
        caller = info.context.caller
        selected = await info.context.keys.select_one(digest, caller.submitter)
        return ApiKeyType.of(await info.context.keys.revoke(selected, actor=caller.credential))
