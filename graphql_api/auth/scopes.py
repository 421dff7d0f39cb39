"""Scopes: what an API key allows its caller to do.

Every root field of the schema (`schema/required_scopes.py`) and every HTTP endpoint (`endpoints/endpoint.py`)
declares a scope. A request without this scope fails with FORBIDDEN. No field and no endpoint declares `read-all`: it
lets an operator name another submitter in a request, whose samples and results the request then reads.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from graphql_api.credential_errors import MissingScope
from graphql_api.limits import KeyLimits


class Scope(StrEnum):
    """A permission of an API key."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"
    READ_ALL = "read-all"


MAX_LABEL_BYTES = 100
"""The length of a label in samples. A longer label is cut."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The submitter whose documents a request uses, and what its credential allows.

    It is the submitter to which the credential belongs, unless an operator reads what another submitter has.
    """

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
    operator: str = field(default="", compare=False)
    """The submitter to which the credential belongs, if it is another one."""

    def reader_of(self, submitter: str) -> "Caller":
        """Return a caller that may only read what another submitter has."""
        return replace(self, submitter=submitter, scopes=frozenset({Scope.READ}), operator=self.submitter)


def missing_scope(scope: Scope, caller: Caller) -> MissingScope:
    """Return the error for a caller without `scope`."""
    if caller.operator:
        message = f"the header x-submitter names another submitter, so only reading is possible, without `{scope}`"
    else:
        message = f"this key does not have the scope `{scope}`; ask your operator for a key that has it"
    return MissingScope(message, scope=scope)
