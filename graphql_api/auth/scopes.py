"""Scopes: what an API key allows its caller to do.

Every root field of the schema (`schema/required_scopes.py`) and every HTTP endpoint (`endpoints/endpoint.py`)
declares a scope. A request without this scope fails with FORBIDDEN.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from graphql_api.credential_errors import MissingScope
from graphql_api.limits import KeyLimits


class Scope(StrEnum):
    """A permission of an API key."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


MAX_LABEL_BYTES = 100
"""The length of a label in samples. A longer label is cut."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The submitter to which the credential of a request belongs, and what the credential allows."""

    submitter: str
    scopes: frozenset[Scope]
    credential: str = field(default="", compare=False)
    """A short text that tells operators which credential it was, such as the start of a key's digest."""
    expires: datetime | None = field(default=None, compare=False)
    """When the credential expires, or None if it does not expire."""
    limits: KeyLimits | None = field(default=None, compare=False)
    """The limits of the credential, or None if those of its submitter apply."""
    label: str = field(default="", compare=False)
    """The text by which readers of the submitter recognize the credential, such as the label of a key."""


def missing_scope(scope: Scope) -> MissingScope:
    """Return the error for a caller without `scope`."""
    message = f"this key does not have the scope `{scope}`; ask your operator for a key that has it"
    return MissingScope(message, scope=scope)
