"""API keys and the audit log as clients see them."""

from datetime import UTC, datetime
from typing import Self

import strawberry

from graphql_api.auth.audit_log import AuditEntry
from graphql_api.auth.key_manager import StoredKey
from graphql_api.auth.scopes import Scope
from graphql_api.schema.types.enums import describe_enum

_SCOPES = {
    Scope.SUBMIT: "Submit samples.",
    Scope.READ: "Read samples and results.",
    Scope.ADMIN: "Recompute results, delete samples, and manage API keys.",
    Scope.READ_ALL: "Read samples and results of the submitter that the header `x-submitter` of a request names.",
}

describe_enum(Scope, "What an API key allows.", _SCOPES, name="ApiScope")


@strawberry.type(
    description=(
        "Limits of an API key, which an operator has set. Null means that the limit of the submitter applies. Keys "
        "that were created with the key, or instead of it, share these limits."
    )
)
class ApiKeyLimits:
    """What clients with a key may send to each API process."""

    requests_per_second: int | None = strawberry.field(default=None, description="Requests in a second.")
    samples_per_second: int | None = strawberry.field(default=None, description="Samples in a second.")
    sample_mib_per_second: int | None = strawberry.field(
        default=None, description="Size of the samples in a second, in MiB, after decompression."
    )
    samples_per_day: int | None = strawberry.field(
        default=None, description="Samples on a day in UTC, to all API processes."
    )
    sample_mib_per_day: int | None = strawberry.field(
        default=None, description="Size of the samples on a day in UTC, in MiB, after decompression."
    )


@strawberry.type(name="ApiKey", description="An API key, without the key itself, which is stored nowhere.")
class ApiKeyType:
    """A stored key."""

    digest: str = strawberry.field(description="The SHA-256 of the key in hexadecimal.")
    label: str = strawberry.field(description="The text by which you recognize the key.")
    scopes: list[Scope] = strawberry.field(description="What the key allows.")
    created_at: datetime = strawberry.field(description="The time when the key was created.")
    expires_at: datetime | None = strawberry.field(description="The time when the key expires, if it does.")
    revoked_at: datetime | None = strawberry.field(description="The time when the key was revoked, if it was.")
    last_used_on: datetime | None = strawberry.field(
        description="The start of the last day, in UTC, on which the key was used, if it was."
    )
    is_valid: bool = strawberry.field(description="Whether the key is neither revoked nor expired.")
    limits: "ApiKeyLimits | None" = strawberry.field(
        description="The limits of the key itself. Null if those of its submitter apply."
    )

    @classmethod
    def of(cls, key: StoredKey) -> Self:
        """Return the GraphQL object of a stored key."""
        digest, stored = key
        return cls(
            digest=digest,
            label=stored.label,
            scopes=sorted(stored.scopes),
            created_at=stored.created,
            expires_at=stored.expires,
            revoked_at=stored.revoked,
            last_used_on=stored.last_used,
            is_valid=stored.is_valid_at(datetime.now(UTC)),
            limits=None if stored.limits is None else ApiKeyLimits(**stored.limits.values),
        )


@strawberry.type(description="A new API key.")
class CreatedApiKey:
    """A key that its client must keep now."""

    secret: str = strawberry.field(description="The key. Keep it now: it cannot be read again.")
    api_key: ApiKeyType = strawberry.field(description="What is stored about the key.")

    @classmethod
    def of(cls, created: tuple[str, StoredKey]) -> Self:
        """Return the GraphQL object of a new key."""
        return cls(secret=created[0], api_key=ApiKeyType.of(created[1]))


@strawberry.type(name="AuditEntry", description="An action on the keys, samples or results of the submitter.")
class AuditEntryType:
    """An entry of the audit log."""

    id: strawberry.ID = strawberry.field(description="The id of the entry.")
    at: datetime = strawberry.field(description="The time of the action.")
    actor: str = strawberry.field(description="The credential that acted, or `operator` for the command line.")
    action: str = strawberry.field(description="What was done, such as `key.created`.")
    details: str = strawberry.field(description="To what it was done.")

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """Return the GraphQL object of an entry."""
        return cls(
            id=strawberry.ID(entry.id), at=entry.at, actor=entry.actor, action=entry.action, details=entry.details
        )
