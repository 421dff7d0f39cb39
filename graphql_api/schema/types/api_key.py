"""API keys and the audit log as clients see them."""

from datetime import UTC, datetime
from typing import Self

import strawberry

from graphql_api.auth.audit_entry import MAX_SAMPLE_IDS, AuditEntry
from graphql_api.auth.key_manager import StoredKey
from graphql_api.schema.costs import AUDITED_IDS, costs
from graphql_api.schema.types.enums import describe_enum
from graphql_api.scopes import Scope

_SCOPES = {
    Scope.SUBMIT: "Submit samples.",
    Scope.READ: "Read samples and results.",
    Scope.ADMIN: "Recompute results, delete samples, and manage API keys.",
    Scope.READ_ALL: "Read samples and results of any submitter. The request header `x-submitter` names this submitter.",
}

describe_enum(Scope, "What an API key allows.", _SCOPES, name="ApiScope")


LIMITS = {
    "requests_per_second": "The maximum number of requests per second in each API process.",
    "samples_per_second": "The maximum number of samples per second in each API process.",
    "sample_mib_per_second": (
        "The maximum size of the samples per second in each API process, in MiB after decompression."
    ),
    "samples_per_day": "The maximum number of samples per UTC day, in all API processes together.",
    "sample_mib_per_day": (
        "The maximum size of the samples per UTC day in all API processes together, in MiB after decompression."
    ),
}
"""The descriptions of the limits of a key, by their names."""


@strawberry.type(
    description=(
        "The limits of an API key. If a limit is null, the limit of the submitter applies. The key, all keys that "
        "were created with it, and all keys that replaced it share the same limits. Only an operator can add or raise "
        "limits."
    )
)
class ApiKeyLimits:
    """The limits of a key."""

    requests_per_second: int | None = strawberry.field(default=None, description=LIMITS["requests_per_second"])
    samples_per_second: int | None = strawberry.field(default=None, description=LIMITS["samples_per_second"])
    sample_mib_per_second: int | None = strawberry.field(default=None, description=LIMITS["sample_mib_per_second"])
    samples_per_day: int | None = strawberry.field(default=None, description=LIMITS["samples_per_day"])
    sample_mib_per_day: int | None = strawberry.field(default=None, description=LIMITS["sample_mib_per_day"])


@strawberry.type(name="ApiKey", description="A stored API key. The server does not store the key itself.")
class ApiKeyType:
    """A stored key."""

    digest: str = strawberry.field(description="The SHA-256 of the key in hexadecimal.")
    label: str = strawberry.field(description="The human-readable name of the key.")
    scopes: list[Scope] = strawberry.field(description="What the key allows.")
    created_at: datetime = strawberry.field(description="The time when the key was created.")
    expires_at: datetime | None = strawberry.field(
        description="The time when the key expires. Null if the key does not expire."
    )
    revoked_at: datetime | None = strawberry.field(
        description="The time when the key was revoked. Null if it is not revoked."
    )
    last_used_on: datetime | None = strawberry.field(
        description="The start of the last UTC day on which the key was used. Null if it was never used."
    )
    is_valid: bool = strawberry.field(description="Whether the key is valid: not revoked and not expired.")
    limits: "ApiKeyLimits | None" = strawberry.field(
        description="The limits of this key. Null if the limits of the submitter apply."
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
    """A new key, with the key itself."""

    secret: str = strawberry.field(description="The secret key. Save it now, because you cannot read it again.")
    api_key: ApiKeyType = strawberry.field(description="The stored API key.")

    @classmethod
    def of(cls, created: tuple[str, StoredKey]) -> Self:
        """Return the GraphQL object of a new key."""
        return cls(secret=created[0], api_key=ApiKeyType.of(created[1]))


@strawberry.type(name="AuditEntry", description="An entry of the audit log: one action.")
class AuditEntryType:
    """An entry of the audit log."""

    id: strawberry.ID = strawberry.field(description="The id of the entry.")
    at: datetime = strawberry.field(description="The time of the action.")
    actor: str = strawberry.field(description="The credential of the request, or `operator` for the command line.")
    action: str = strawberry.field(description="The kind of the action, such as `key.created`.")
    details: str = strawberry.field(
        description=(
            "A human-readable summary of the other fields. Entries from earlier versions of Dropzone have only this "
            "field."
        )
    )
    key_digest: str | None = strawberry.field(description="The digest of the key that was changed or refused.")
    label: str | None = strawberry.field(description="The label of the key that was changed or refused.")
    change: str | None = strawberry.field(description="What was changed, or the new value of a setting.")
    deletion: strawberry.ID | None = strawberry.field(description="The id of the deletion that was started.")
    recomputation: strawberry.ID | None = strawberry.field(description="The id of the recomputation that was started.")
    sample_ids: list[strawberry.ID] = strawberry.field(
        description=f"The ids of the samples in the request. The list has at most the first {MAX_SAMPLE_IDS} ids.",
        metadata=costs(AUDITED_IDS),
    )
    sample_count: int | None = strawberry.field(
        description="The number of ids in the request. Null if the request has no ids."
    )
    filter: str | None = strawberry.field(
        description=(
            "The filter of the deletion or recomputation, as JSON. The members have the same names as the fields of "
            "the argument `filter`. Labels are an object with names and values."
        )
    )
    issuer: str | None = strawberry.field(
        description="The issuer of the refused access token. Null if the signature of the token is not valid."
    )
    subject: str | None = strawberry.field(description="The subject of the refused access token.")
    reason: str | None = strawberry.field(
        description="The reason for a deletion, or why a credential was accepted or refused."
    )

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """Return the GraphQL object of an entry."""
        facts = entry.facts
        return cls(
            id=strawberry.ID(entry.id),
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            details=entry.details,
            key_digest=facts.key_digest,
            label=facts.label,
            change=facts.change,
            deletion=None if facts.deletion is None else strawberry.ID(facts.deletion),
            recomputation=None if facts.recomputation is None else strawberry.ID(facts.recomputation),
            sample_ids=list(map(strawberry.ID, facts.sample_ids)),
            sample_count=facts.sample_count,
            filter=facts.filter,
            issuer=facts.issuer,
            subject=facts.subject,
            reason=facts.reason,
        )
