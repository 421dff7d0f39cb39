"""The type `Mutation`: the mutations of samples, of settings and of keys."""

from datetime import timedelta
from typing import Annotated

import strawberry

from graphql_api.auth.scopes import Scope
from graphql_api.graphql_server.execution.operation_cost import FieldCost
from graphql_api.ingest.submitter_settings import CACHE_SECONDS
from graphql_api.schema.context import Info
from graphql_api.schema.costs import costs
from graphql_api.schema.required_scopes import requires
from graphql_api.schema.sample_mutation import SampleMutation
from graphql_api.schema.types.api_key import ApiKeyType, CreatedApiKey
from graphql_api.schema.types.deletion import DAYS, HourlyRetentionInput, RetentionType
from storage.documents import BadRequest, HourlyRetention, Retention

MAX_LABEL_CHARACTERS = 100
MAX_DAYS = 36_500
MAX_OVERLAP_DAYS = 365

Digest = Annotated[
    str, strawberry.argument(description="The SHA-256 of the key in hexadecimal, or at least its first 8 digits.")
]


@strawberry.type(description="All mutations act on samples of the submitter to which the API key belongs.")
class Mutation(SampleMutation):
    """The fields of `mutation`."""

    @strawberry.mutation(
        description=(
            "Changes for how many days samples, results and hourly statistics are kept. The change applies to samples "
            f"that are submitted later, and takes effect within {CACHE_SECONDS:g} seconds. Stored samples and results "
            "keep their time of expiry. Results must be kept at least as long as samples, and hourly statistics longer "
            "than results."
        ),
        metadata=requires(Scope.ADMIN) | costs(FieldCost(5)),
    )
    async def set_retention(
        self,
        info: Info,
        sample_days: Annotated[int | None, strawberry.argument(description=f"Days for samples. {DAYS}")] = None,
        result_days: Annotated[int | None, strawberry.argument(description=f"Days for results. {DAYS}")] = None,
        hourly: Annotated[
            HourlyRetentionInput | None,
            strawberry.argument(
                description="For hourly statistics of expired results. Null: they are deleted with the results."
            ),
        ] = None,
        use_default: Annotated[
            bool,
            strawberry.argument(
                description="Whether to use the default of the server. Cannot be combined with `sampleDays`, "
                "`resultDays` or `hourly`."
            ),
        ] = False,
    ) -> RetentionType:
        """Change the retention of the submitter."""
        submitter, settings = info.context.caller.submitter, info.context.submitter_settings
        given = Retention(sample_days, result_days, None if hourly is None else HourlyRetention(hourly.days))
        if use_default and given != Retention():
            raise BadRequest("expected `useDefault` without `sampleDays`, `resultDays` and `hourly` - at `useDefault`")
        await settings.set_retention(submitter, None if use_default else given)
        retention, is_default = await settings.retention(submitter)
        await info.context.record("retention.changed", f"{retention}{', the default' if is_default else ''}")
        return RetentionType.of(retention, is_default=is_default)

    @strawberry.mutation(
        description=(
            'Changes whether the server treats each sample as if it had the member `missing: "skip"`. If so, the '
            "server leaves out nulls in `data`. If not, a null is a problem of a sample without this member. The "
            f"change applies to samples that are submitted later, and takes effect within {CACHE_SECONDS:g} seconds. "
            "Returns the setting."
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
            "Creates an API key for the submitter. The response contains the key, which cannot be read again. The new "
            "key can have only scopes that the key or token of the request has. If the key of the request has limits, "
            "the new key has the same limits, and requests with the two keys count together."
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
            int | None, strawberry.argument(description="The lifetime of the key in days. It is unlimited by default.")
        ] = None,
    ) -> CreatedApiKey:
        """Create a key with at most the rights of the caller."""
        caller = info.context.caller
        if not scopes or not set(scopes) <= caller.scopes:
            raise BadRequest(f"expected one or more of the scopes {', '.join(sorted(caller.scopes))} - at `scopes`")
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
            "Replaces an API key of the submitter with a new key. The new key has the same label, scopes, limits and "
            "lifetime. The old key expires at the end of the overlap, or at its own expiry if that is earlier. The "
            "response contains the new key, which cannot be read again."
        ),
        metadata=requires(Scope.ADMIN) | costs(FieldCost(20)),
    )
    async def rotate_api_key(
        self,
        info: Info,
        digest: Digest,
        overlap_days: Annotated[
            int, strawberry.argument(description="The number of days for which both keys work, from 0 to 365.")
        ] = 7,
    ) -> CreatedApiKey:
        """Rotate a key of the submitter."""
        caller = info.context.caller
        if not 0 <= overlap_days <= MAX_OVERLAP_DAYS:
            raise BadRequest(f"expected a number of days from 0 to {MAX_OVERLAP_DAYS} - at `overlapDays`")
        selected = await info.context.keys.select_one(digest, caller.submitter)
        if not selected[1].scopes <= caller.scopes:
            raise BadRequest("expected a key whose scopes the key or token of the request also has - at `digest`")
        if caller.limits not in (None, selected[1].limits):
            raise BadRequest("expected a key with the same limits as the key of the request - at `digest`")
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
