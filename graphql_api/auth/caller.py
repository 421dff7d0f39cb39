"""The caller of a request: the submitter whose documents the request uses, and what the credential allows."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from graphql_api.configuration.limits import KeyLimits
from graphql_api.credential_errors import MissingScope
from graphql_api.scopes import Scope

MAX_LABEL_BYTES = 100
"""The maximum length of a label in a stored sample. Longer labels are truncated."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The submitter whose documents a request uses, and the rights of its credential.

    The credential belongs to this submitter, unless an operator reads the documents of another submitter.
    """

    submitter: str
    scopes: frozenset[Scope]
    credential: str = field(default="", compare=False)
    """A short text by which operators recognize the credential, such as the start of a key's digest."""
    expires: datetime | None = field(default=None, compare=False)
    """When the credential expires, or None if it does not expire."""
    limits: KeyLimits | None = field(default=None, compare=False)
    """The limits of the credential, or None if the limits of the submitter apply."""
    label: str = field(default="", compare=False)
    """The label of the credential, which `submittedBy` shows to clients of the submitter."""
    operator: str = field(default="", compare=False)
    """The submitter that owns the credential, if it reads the documents of another submitter. Otherwise empty."""

    person: str = field(default="", compare=False)
    """The issuer and the subject of an access token. Empty for a key."""

    def reader_of(self, submitter: str) -> "Caller":
        """Return a caller that may only read the documents of another submitter."""
        return replace(self, submitter=submitter, scopes=frozenset({Scope.READ}), operator=self.submitter)


def missing_scope(scope: Scope, caller: Caller) -> MissingScope:
    """Return the error for a caller without `scope`."""
    if caller.operator:
        message = f"a request with the header x-submitter can only read; it does not have the scope `{scope}`"
    else:
        message = f"this credential does not have the scope `{scope}`; use a key or an access token that has it"
    return MissingScope(message, scope=scope)
