"""The type `Mutation`: the mutations of samples, of settings and of keys."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

import strawberry
from strawberry.utils.str_converters import to_camel_case

from graphql_api.auth.api_keys import MAX_LABEL_CHARACTERS, is_label
from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.configuration.limits import KeyLimits, Limits, effective_limits
from graphql_api.ingest.submitter_settings import CACHE_SECONDS
from graphql_api.schema.context import Info
from graphql_api.schema.costs import KEY_CHANGE, SETTING_CHANGE, costs
from graphql_api.schema.required_scopes import requires
from graphql_api.schema.sample_mutation import SampleMutation
from graphql_api.schema.types.api_key import LIMITS, ApiKeyType, CreatedApiKey
from graphql_api.schema.types.deletion import DAYS, HourlyRetentionInput, RetentionType
from graphql_api.scopes import Scope
from storage.documents import BadRequest, HourlyRetention, Retention

MAX_DAYS = 36_500
MAX_OVERLAP_DAYS = 365

Digest = Annotated[
    str, strawberry.argument(description="The SHA-256 of the key in hexadecimal, or at least its first 8 digits.")
]


@strawberry.type(
    description="All mutations change data of the submitter to which the API key or the access token belongs."
)
class Mutation(SampleMutation):
    """The fields of `mutation`."""

    @strawberry.mutation(
        description=(
            "Changes how long samples, results and hourly statistics are kept. The change takes effect within "
            f"{CACHE_SECONDS:g} seconds. It applies only to samples that are submitted after that. The expiry time of "
            "stored samples and results does not change. Results must be kept at least as long as samples, and hourly "
            "statistics longer than results."
        ),
        metadata=requires(Scope.ADMIN) | costs(SETTING_CHANGE),
    )
    async def set_retention(
        self,
        info: Info,
        sample_days: Annotated[
            int | None, strawberry.argument(description=f"The number of days for samples. {DAYS}")
        ] = None,
        result_days: Annotated[
            int | None, strawberry.argument(description=f"The number of days for results. {DAYS}")
        ] = None,
        hourly: Annotated[
            HourlyRetentionInput | None,
            strawberry.argument(
                description=(
                    "How long the hourly statistics of expired results are kept. Null means that they are deleted "
                    "with the results."
                )
            ),
        ] = None,
        use_default: Annotated[
            bool,
            strawberry.argument(
                description=(
                    "Whether to use the default of the server again. Cannot be combined with `sampleDays`, "
                    "`resultDays` or `hourly`."
                )
            ),
        ] = False,
    ) -> RetentionType:
        """Change the retention of the submitter."""
        submitter, settings = info.context.caller.submitter, info.context.submitter_settings
        given = Retention(sample_days, result_days, None if hourly is None else HourlyRetention(hourly.days))
        if use_default and given != Retention():
            raise BadRequest("expected `useDefault` without `sampleDays`, `resultDays` and `hourly` - at `useDefault`")
        retention = settings.default_retention if use_default else given
        change = f"{retention}{', the default' if use_default else ''}"
        entry = info.context.entry("retention.changed", AuditFacts(change=change))
        await settings.set_retention(submitter, None if use_default else given, entry)
        return RetentionType.of(retention, is_default=use_default)

    @strawberry.mutation(
        description=(
            "Sets what the server does with a null in `data`. If the setting is on, the statistics leave out nulls. If "
            'it is off, the server rejects the sample, unless the sample has the member `missing: "skip"`. The change '
            f"takes effect within {CACHE_SECONDS:g} seconds. It applies only to samples that are submitted after that. "
            "Returns the new setting."
        ),
        metadata=requires(Scope.ADMIN) | costs(SETTING_CHANGE),
    )
    async def skip_missing_values(
        self,
        info: Info,
        is_on: Annotated[bool, strawberry.argument(name="on", description="Whether the statistics leave out nulls.")],
    ) -> bool:
        """Change a setting of the submitter."""
        submitter, settings = info.context.caller.submitter, info.context.submitter_settings
        facts = AuditFacts(change="skipped" if is_on else "rejected")
        entry = info.context.entry("missing_values.changed", facts)
        await settings.set_skips_missing(submitter, entry, skips_missing=is_on)
        return is_on

    @strawberry.mutation(
        description=(
            "Creates an API key for the submitter. Save the key in the response, because you cannot read it again. "
            "The new key can have only scopes that the key or token of the request has. If the key of the request has "
            "limits, the new key shares these limits."
        ),
        metadata=requires(Scope.ADMIN) | costs(KEY_CHANGE),
    )
    async def create_api_key(
        self,
        info: Info,
        scopes: Annotated[list[Scope], strawberry.argument(description="What the key allows.")],
        label: Annotated[
            str, strawberry.argument(description="A human-readable name of the key, at most 100 characters.")
        ] = "",
        expires_in_days: Annotated[
            int | None,
            strawberry.argument(description="The lifetime of the key in days. By default, the key does not expire."),
        ] = None,
    ) -> CreatedApiKey:
        """Create a key with at most the rights of the caller."""
        caller = info.context.caller
        if not scopes or not set(scopes) <= caller.scopes:
            raise BadRequest(f"expected one or more of the scopes {', '.join(sorted(caller.scopes))} - at `scopes`")
        if not is_label(label):
            raise BadRequest(f"expected up to {MAX_LABEL_CHARACTERS} printable characters - at `label`")
        if expires_in_days is not None and not 1 <= expires_in_days <= MAX_DAYS:
            raise BadRequest(f"expected a number of days from 1 to {MAX_DAYS:,} - at `expiresInDays`")
        lifetime = None if expires_in_days is None else timedelta(days=expires_in_days)
        limits = await info.context.key_manager.current_limits(caller.submitter, caller.limits)
        created = await info.context.key_manager.create(
            caller.submitter, frozenset(scopes), label, lifetime, limits=limits, actor=caller.credential
        )
        return CreatedApiKey.of(created)

    @strawberry.mutation(
        description=(
            "Replaces an API key of the submitter with a new key. The new key has the same label, scopes, limits and "
            "lifetime. The old key expires after `overlapDays`, or at its own expiry time if that is earlier. Save "
            "the new key in the response, because you cannot read it again."
        ),
        metadata=requires(Scope.ADMIN) | costs(KEY_CHANGE),
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
        selected = await info.context.key_manager.select_one(digest, caller.submitter)
        if not selected[1].scopes <= caller.scopes:
            raise BadRequest(
                "the key has scopes that the key or token of the request does not have; use a credential with all "
                "scopes of the key - at `digest`"
            )
        name = None if selected[1].limits is None else selected[1].limits.name
        if caller.limits is not None and caller.limits.name != name:
            raise BadRequest("expected a key with the same limits as the key of the request - at `digest`")
        overlap = timedelta(days=overlap_days)
        return CreatedApiKey.of(await info.context.key_manager.rotate(selected, overlap, actor=caller.credential))

    @strawberry.mutation(
        description=(
            "Lowers the limits of an API key of the submitter. The key must already have limits. All keys that share "
            "these limits change too. Returns the changed keys. The new limits replace all earlier limits within "
            "seconds. If you omit a limit, the limit of the submitter applies. This mutation cannot raise a limit, "
            "because only an operator can add or raise limits, on the command line."
        ),
        metadata=requires(Scope.ADMIN) | costs(KEY_CHANGE),
    )
    async def set_api_key_limits(
        self,
        info: Info,
        digest: Digest,
        requests_per_second: Annotated[
            int | None, strawberry.argument(description=LIMITS["requests_per_second"])
        ] = None,
        samples_per_second: Annotated[int | None, strawberry.argument(description=LIMITS["samples_per_second"])] = None,
        sample_mib_per_second: Annotated[
            int | None, strawberry.argument(description=LIMITS["sample_mib_per_second"])
        ] = None,
        samples_per_day: Annotated[int | None, strawberry.argument(description=LIMITS["samples_per_day"])] = None,
        sample_mib_per_day: Annotated[int | None, strawberry.argument(description=LIMITS["sample_mib_per_day"])] = None,
    ) -> list[ApiKeyType]:
        """Lower the limits of a key of the submitter."""
        caller, keys = info.context.caller, info.context.key_manager
        selected = await keys.select_one(digest, caller.submitter)
        given = {
            "requests_per_second": requests_per_second,
            "samples_per_second": samples_per_second,
            "sample_mib_per_second": sample_mib_per_second,
            "samples_per_day": samples_per_day,
            "sample_mib_per_day": sample_mib_per_day,
        }
        values = {name: value for name, value in given.items() if value is not None}
        _check_lower(info.context.budgets.limits, selected[1].limits, values)
        changed = await keys.set_limits(selected, values, actor=caller.credential)
        return [ApiKeyType.of(key) for key in changed]

    @strawberry.mutation(
        description="Revokes an API key of the submitter. Requests with the key fail within a few seconds.",
        metadata=requires(Scope.ADMIN) | costs(KEY_CHANGE),
    )
    async def revoke_api_key(self, info: Info, digest: Digest) -> ApiKeyType:
        """Revoke a key of the submitter."""
        caller = info.context.caller
        selected = await info.context.key_manager.select_one(digest, caller.submitter)
        return ApiKeyType.of(await info.context.key_manager.revoke(selected, actor=caller.credential))


def _check_lower(limits: Limits, own: KeyLimits | None, values: Mapping[str, int]) -> None:
    """Raise `BadRequest` if a key with the limits `own` and then with `values` instead could send more.

    Requests with such a key do not count towards the limits of the submitter. If an admin could add limits to keys or
    raise them, the submitter could send any number of requests.
    """
    if own is None:
        raise BadRequest("the key has no limits of its own; ask your operator to set limits - at `digest`")
    after = effective_limits(limits, KeyLimits(name=own.name, **values))
    for name, before in effective_limits(limits, own).items():
        if values.get(name, 1) < 1 or (before and not 1 <= after[name] <= before):
            allowed = f"from 1 to {before:,}" if before else "of at least 1"
            raise BadRequest(f"expected a number {allowed} - at `{to_camel_case(name)}`")
