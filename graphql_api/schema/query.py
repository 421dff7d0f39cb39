"""The queries: samples and results, deletions, recomputations, settings, API keys and the audit log."""

from datetime import datetime
from typing import Annotated

import strawberry

from graphql_api.auth.audit_log import MAX_ENTRIES
from graphql_api.schema.arguments import DeletionId, RecomputationId
from graphql_api.schema.context import Info
from graphql_api.schema.costs import API_KEYS, AUDIT_LOG, SINGLE_READ, costs
from graphql_api.schema.required_scopes import requires
from graphql_api.schema.sample_query import SampleQuery
from graphql_api.schema.types.api_key import ApiKeyType, AuditEntryType
from graphql_api.schema.types.deletion import DeletionType, RetentionType
from graphql_api.schema.types.recomputation import RecomputationType
from graphql_api.scopes import Scope
from storage.documents import BadRequest


@strawberry.type(
    description="All queries return data of the submitter to which the API key or the access token belongs."
)
class Query(SampleQuery):
    """The fields of `query`."""

    @strawberry.field(
        description="Returns the progress of a deletion, or null if the deletion does not exist.",
        metadata=requires(Scope.ADMIN) | costs(SINGLE_READ),
    )
    async def deletion(self, info: Info, deletion_id: DeletionId) -> DeletionType | None:
        """Return one deletion."""
        deletion = await info.context.deleter.get(info.context.caller.submitter, deletion_id)
        return None if deletion is None else DeletionType.of(deletion)

    @strawberry.field(
        description="Returns the progress of a recomputation, or null if the recomputation does not exist.",
        metadata=requires(Scope.ADMIN) | costs(SINGLE_READ),
    )
    async def recomputation(self, info: Info, recomputation_id: RecomputationId) -> RecomputationType | None:
        """Return one recomputation."""
        recomputation = await info.context.recomputer.get(info.context.caller.submitter, recomputation_id)
        return None if recomputation is None else RecomputationType.of(recomputation)

    @strawberry.field(
        description="Returns how long new samples, their results and their hourly statistics are kept.",
        metadata=requires(Scope.READ) | costs(SINGLE_READ),
    )
    async def retention(self, info: Info) -> RetentionType:
        """Return the retention of the submitter."""
        retention, is_default = await info.context.submitter_settings.retention(info.context.caller.submitter)
        return RetentionType.of(retention, is_default=is_default)

    @strawberry.field(
        description="Returns the setting of `skipMissingValues`: whether the statistics leave out nulls in `data`.",
        metadata=requires(Scope.READ) | costs(SINGLE_READ),
    )
    async def skips_missing_values(self, info: Info) -> bool:
        """Return a setting of the submitter."""
        return await info.context.submitter_settings.skips_missing(info.context.caller.submitter)

    @strawberry.field(
        description="Returns all API keys of the submitter, the newest first.",
        metadata=requires(Scope.ADMIN) | costs(API_KEYS),
    )
    async def api_keys(self, info: Info) -> list[ApiKeyType]:
        """Return the keys of the submitter."""
        keys = await info.context.key_manager.select(submitter=info.context.caller.submitter)
        return [ApiKeyType.of(key) for key in sorted(keys, key=lambda key: key[1].created, reverse=True)]

    @strawberry.field(
        description="Returns the newest entries of the submitter's audit log. Entries are kept for 400 days.",
        metadata=requires(Scope.ADMIN) | costs(AUDIT_LOG),
    )
    async def audit_log(
        self,
        info: Info,
        first: Annotated[
            int, strawberry.argument(description=f"The maximum number of entries, from 1 to {MAX_ENTRIES}.")
        ] = 100,
        before: Annotated[
            datetime | None, strawberry.argument(description="Returns only entries before this time.")
        ] = None,
    ) -> list[AuditEntryType]:
        """Return entries, the newest first."""
        if not 1 <= first <= MAX_ENTRIES:
            raise BadRequest(f"expected a number from 1 to {MAX_ENTRIES}, got {first} - at `first`")
        entries = await info.context.audit_log.read(info.context.caller.submitter, first, before)
        return [AuditEntryType.of(entry) for entry in entries]
