"""Scopes: what an API key allows, and who requires which.

Every root field of the schema (`schema/required_scopes.py`) and every HTTP endpoint (`endpoints/endpoint.py`)
declares the scope that it requires, and checks that the caller has it.
"""

from dataclasses import dataclass
from enum import StrEnum

from storage.documents import Forbidden


class Scope(StrEnum):
    """What a key allows."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The submitter that a credential authenticates, and the scopes of the credential."""

    submitter: str
    scopes: frozenset[Scope]


def missing_scope(scope: Scope) -> Forbidden:
    """Return the error for a caller without `scope`."""
    return Forbidden(f"this key does not have the scope `{scope}`; ask your operator for a key that has it")
